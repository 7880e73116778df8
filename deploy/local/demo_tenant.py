"""The tenant of `make run`: made with the operator's commands, installed as a merchant does, set up in Omneo as a user would."""

import contextlib
import json
import re
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import requests

from deploy.local.bundle import Bundle
from deploy.local.processes import StartError
from deploy.local.sandbox import Sandbox
from shared.storage.encryption import new_key

TENANT = "demo"
ACCOUNT = "DemoAc"
EMAIL = "jane@example.org"
TRIGGER = "reward.created"
_DELIVERED_EVERY = 1.0  # the real Klaviyo takes a minute or three

# A target as an Omneo user writes it; the context of a reward has the reward at its root and the profile within.
_TEMPLATE = {
    "type": "event",
    "attributes": {
        "metric": {"data": {"type": "metric", "attributes": {"name": "Reward Issued"}}},
        "profile": {"data": {"type": "profile", "attributes": {"email": "{{ profile.email }}"}}},
        "properties": {"reward": "{{ definition.name }}", "amount": "{{ value_initial }}"},
        "unique_id": "reward-{{ id }}",
    },
}


@dataclass(frozen=True)
class Keys:
    """The secrets of a demo. The installation key is shown once, when the tenant is made, so it is kept here."""

    encryption_keys: str = field(default_factory=lambda: f"demo:{new_key()}", repr=False)
    installation_key: str = field(default="", repr=False)
    webhook_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @classmethod
    def read(cls, path: Path) -> "Keys | None":
        """Return the keys that the file holds, None if there is no such file or it is not whole."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        return None

    def write(self, path: Path) -> None:
        """Keep the keys; only this user may read them."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def make_tenant(sandbox: Sandbox, bundle: Bundle, keys: Keys) -> Keys:
    """Make the tenant on both sides, install it, and return the keys with its installation key.

    Raises:
        StartError: a command or the install failed.
    """
    omneo = sandbox.omneo.tenant(TENANT)
    credentials = {"omneo_token": omneo.token, "omneo_signing_secret": omneo.signing_secret}
    key = _command(bundle.environment, "create", TENANT, said=json.dumps(credentials)).splitlines()[-1]
    _command(bundle.environment, "set", TENANT, "webhook_secret", said=keys.webhook_secret)
    _install(sandbox, bundle, key)
    customer(sandbox)
    sandbox.omneo.reward_definition(TENANT, name="Birthday reward", period=30, period_type="days")
    url = f"{bundle.url}/{TENANT}/api/v1/targets/klaviyo/metric"
    sandbox.omneo.target(TENANT, handle="klaviyo-reward-issued", url=url, template=_TEMPLATE)
    sandbox.omneo.reaction(TENANT, TRIGGER, "klaviyo-reward-issued")
    return Keys(keys.encryption_keys, key, keys.webhook_secret)


def let_klaviyo_deliver(sandbox: Sandbox) -> None:
    """Let Klaviyo deliver to its webhooks without an order, and let every call succeed."""
    sandbox.klaviyo.auto_deliver = _DELIVERED_EVERY
    sandbox.klaviyo.faults.clear()
    sandbox.omneo.faults.clear()


def customer(sandbox: Sandbox) -> dict[str, Any]:
    """Return Jane's profile in Omneo, and make it if it does not exist."""
    people = sandbox.omneo.profiles(TENANT)
    found = next((person for person in people if person["email"] == EMAIL), None)
    return found or sandbox.omneo.profile(TENANT, email=EMAIL, first_name="Jane", last_name="Doe")


def klaviyo_profile_id(sandbox: Sandbox) -> str:
    """Return the id of Jane's Klaviyo profile, which is made if it is not there."""
    people = sandbox.klaviyo.profiles(ACCOUNT)
    found = next((person for person in people if person.attributes.get("email") == EMAIL), None)
    return (found or sandbox.klaviyo.profile(ACCOUNT, email=EMAIL)).id


def _install(sandbox: Sandbox, bundle: Bundle, key: str) -> None:
    """Walk through the install's pages, with the sandbox Klaviyo saying yes at once."""
    sandbox.klaviyo.account(ACCOUNT, organization_name="Demo Store", country="Australia")
    sandbox.klaviyo.oauth.auto_consent = "allow"
    with requests.Session() as browser:
        browser.trust_env = False
        origin = {"Origin": bundle.url}
        form = {"tenant": TENANT, "installation_key": key}
        asked = browser.post(f"{bundle.url}/klaviyo/install", form, headers=origin, timeout=60)
        found = re.search(r'name="confirmation" value="([^"]+)"', asked.text)
        if found is None:
            raise StartError(f"The install stopped at {asked.url.partition('?')[0]}; see {bundle.logs}")
        form = {"confirmation": found[1], "decision": "connect"}
        done = browser.post(f"{bundle.url}/klaviyo/confirm", form, headers=origin, timeout=60)
        if done.status_code != 200:
            raise StartError(f"The install was not confirmed; see {bundle.logs}")
    sandbox.klaviyo.oauth.auto_consent = None  # from now on its page asks


def _command(environment: Mapping[str, str], *words: str, said: str) -> str:
    argv = [sys.executable, "-m", "deploy.tenants", *words]
    done = subprocess.run(
        argv, env=dict(environment), input=said, text=True, capture_output=True, timeout=120, check=False
    )
    if done.returncode:
        raise StartError(f"`{' '.join(words)}` failed: {done.stderr.strip()}")
    return done.stdout
