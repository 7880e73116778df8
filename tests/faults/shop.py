"""The setting of a run: both sandboxes, the bundle's processes between them, and tenants.

No faults and no verdicts here.
"""

import http.client
import json
import random
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.bundle import Bundle
from deploy.local.sandbox import Sandbox
from deploy.staging import REPOSITORY
from shared.storage.encryption import new_key

MINUTE = 1.0  # a minute of the schedule: sweeps come every few seconds
PEOPLE = 6
SECRET = "canary-webhook-secret-of-a-run"
DEFINITION = 6
_CALL_SECONDS = 15.0
_DELIVERED_EVERY = 1.0
_REPEATED = frozenset({0, 429, 500, 502, 503, 504})


@dataclass
class Tenant:
    """A tenant with its people: Omneo id and Klaviyo id of each."""

    name: str
    key: str
    people: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Shop:
    """The sandboxes, the processes and the tenants of a run."""

    sandbox: Sandbox
    bundle: Bundle
    tenants: list[Tenant]
    folder: Path
    lock: threading.Lock = field(default_factory=threading.Lock)

    def post(
        self, tenant: str, path: str, body: Mapping[str, Any], *, key: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """Call the extension once; status 0 says that no answer came."""
        headers = {"Content-Type": "application/json", "x-omneo-secret": SECRET}
        if key:
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        request = urllib.request.Request(
            f"{self.bundle.url}/{tenant}/api/v1{path}", data=json.dumps(body).encode(), headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=_CALL_SECONDS) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {}
        except (
            OSError,
            ValueError,
            http.client.HTTPException,
        ):  # the last: it died halfway through its answer
            return 0, {}

    def post_until_answered(
        self, tenant: str, path: str, body: Mapping[str, Any], *, over: threading.Event, chance: random.Random
    ) -> tuple[int, dict[str, Any]]:
        """Make a call and repeat it until an answer comes or the run is over, as a real caller does."""
        while True:
            status, answer = self.post(tenant, path, body)
            if status not in _REPEATED or over.is_set():
                return status, answer
            time.sleep(0.2 + chance.random())

    def depth(self) -> int:
        """Return how many tasks wait in all queues; -1 if the queue does not answer."""
        try:
            with urllib.request.urlopen(f"{self.bundle.tasks_http}/queues", timeout=5) as answer:
                return sum(row["depth"] for row in json.load(answer)["queues"])
        except (OSError, ValueError, http.client.HTTPException):
            return -1


@contextmanager
def opened(folder: Path, tenants: int) -> Iterator[Shop]:
    """Start everything, install tenants, and end it all after the block."""
    with Sandbox(token_prefix="canary") as sandbox:
        given = {
            "KLAVIYO_API_URL": sandbox.klaviyo.url,
            "OMNEO_API_URL": sandbox.omneo.url_template,
            "KLAVIYO_CLIENT_ID": sandbox.klaviyo.oauth.client_id,
            "KLAVIYO_CLIENT_SECRET": sandbox.klaviyo.oauth.client_secret,
            "ENCRYPTION_KEYS": f"k1:{new_key()}",
            "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:0",
        }
        with Bundle(folder, 0, given, say=lambda line: None, minute=MINUTE) as bundle:
            shop = Shop(sandbox, bundle, [], folder)
            shop.tenants += [_tenant(shop, f"shop-{number}") for number in range(tenants)]
            sandbox.klaviyo.auto_deliver = _DELIVERED_EVERY
            yield shop


def _tenant(shop: Shop, name: str) -> Tenant:
    sandbox, environment = shop.sandbox, shop.bundle.environment
    omneo = sandbox.omneo.tenant(name)
    credentials = {"omneo_token": omneo.token, "omneo_signing_secret": omneo.signing_secret}
    key = _command(environment, "create", name, said=json.dumps(credentials)).splitlines()[-1]
    tokens = sandbox.klaviyo.install(name).to_json()
    _command(environment, "set", name, "klaviyo_tokens", said=json.dumps(tokens))
    _command(environment, "set", name, "webhook_secret", said=SECRET)
    sandbox.omneo.reward_definition(name, id=DEFINITION, period=30, period_type="days")
    sandbox.omneo.reward_rules(
        name, repeated_external_id="creates"
    )  # the harder case: nobody refuses the second
    deadline = time.monotonic() + 120
    while not (sandbox.klaviyo.webhooks(name) and len(sandbox.omneo.webhooks(name)) == 3):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} was not installed")
        time.sleep(0.05)
    sandbox.omneo.enable_webhooks(name)
    tenant = Tenant(name, key)
    for number in range(PEOPLE):
        email = f"canary-{number}@{name}.example.org"
        omneo_id = str(sandbox.omneo.profile(name, email=email)["id"])
        tenant.people.append((omneo_id, sandbox.klaviyo.profile(name, email=email, external_id=omneo_id).id))
    return tenant


def _command(environment: Mapping[str, str], *words: str, said: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.tenants", *words],
        cwd=REPOSITORY, env=dict(environment), input=said, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout
