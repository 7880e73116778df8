"""`make run`: the bundle with a sandbox Omneo and Klaviyo and a demo tenant, and one event sent from end to end.

The demo does what an operator and an Omneo user would: it makes the tenant with the operator's commands, sets up a target
and a reaction in Omneo, and lets a reward be issued. Each hop's time is read back from the records of those who saw it: the
sandbox Omneo, the queue, and the sandbox Klaviyo.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from deploy.local.bundle import Bundle
from deploy.local.processes import StartError
from deploy.local.sandbox import Sandbox
from deploy.local.serve import check_environment, port, say, stop_signal, write_environment
from shared.storage.encryption import new_key

TENANT = "demo"
ACCOUNT = "DemoAc"
EMAIL = "jane@example.org"
_WAIT_SECONDS = 20.0
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
class Hop:
    """Something that happened to the event, when, and who recorded it."""

    at: float
    what: str
    seen_by: str


def run() -> None:
    """Start everything, send one event, say what happened, and serve until stopped.

    Raises:
        StartError: something did not come up, or the event did not arrive.
    """
    started = time.time()
    public_port = port(os.environ)
    data_dir = _empty_data_dir(public_port)
    stopped = stop_signal()
    with Sandbox() as sandbox:
        given = _environment(sandbox)
        check_environment(given, data_dir)
        with Bundle(data_dir, public_port, given) as bundle:
            key, secret = _set_up_tenant(sandbox, bundle)
            write_environment(data_dir / "env", bundle.environment, _FOR_COMMANDS)
            hops = _send_one_event(sandbox, bundle)
            _tell(hops, time.time() - started)
            _tell_what_next(sandbox, bundle, data_dir, key, secret)
            stopped.wait()
            say("Stopping.")


_FOR_COMMANDS = (
    "STORE", "QUEUE", "CLOUD_TASKS_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_REGION", "ENCRYPTION_KEYS",
    "INBOUND_WORKER_URL", "OUTBOUND_WORKER_URL", "EXTENSION_URL", "KLAVIYO_API_URL", "KLAVIYO_CLIENT_ID", "KLAVIYO_CLIENT_SECRET", "OMNEO_API_URL",
)  # fmt: skip


def _empty_data_dir(public_port: int) -> Path:
    """Return an empty folder. The sandbox forgets everything when it ends, so the demo begins anew every time."""
    with socket.socket() as probe:
        if public_port and probe.connect_ex(("127.0.0.1", public_port)) == 0:
            raise StartError(f"Port {public_port} is taken. Choose another: make run PORT=8081")
    folder = Path(os.environ.get("DATA_DIR") or ".local") / f"demo-{public_port}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _environment(sandbox: Sandbox) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOST") if name in os.environ}
    return kept | {
        "KLAVIYO_API_URL": sandbox.klaviyo.url,
        "KLAVIYO_AUTHORIZE_URL": f"{sandbox.klaviyo.url}/oauth/authorize",
        "OMNEO_API_URL": sandbox.omneo.url_template,
        "KLAVIYO_CLIENT_ID": sandbox.klaviyo.oauth.client_id,
        "KLAVIYO_CLIENT_SECRET": sandbox.klaviyo.oauth.client_secret,
        "ENCRYPTION_KEYS": f"demo:{new_key()}",
    }


def _set_up_tenant(sandbox: Sandbox, bundle: Bundle) -> tuple[str, str]:
    """Make the tenant with the operator's commands, install as a merchant does, and set up Omneo as a user would.

    Return the installation key and the webhook secret.
    """
    omneo = sandbox.omneo.tenant(TENANT)
    credentials = {"omneo_token": omneo.token, "omneo_signing_secret": omneo.signing_secret}
    key = _command(bundle.environment, "create", TENANT, said=json.dumps(credentials)).splitlines()[-1]
    secret = secrets.token_urlsafe(24)
    _command(bundle.environment, "set", TENANT, "webhook_secret", said=secret)
    _install(sandbox, bundle, key)
    sandbox.omneo.profile(TENANT, email=EMAIL, first_name="Jane", last_name="Doe")
    sandbox.omneo.reward_definition(TENANT, name="Birthday reward", period=30, period_type="days")
    sandbox.klaviyo.auto_deliver = _DELIVERED_EVERY
    url = f"{bundle.url}/{TENANT}/api/v1/targets/klaviyo/metric"
    sandbox.omneo.target(TENANT, handle="klaviyo-reward-issued", url=url, template=_TEMPLATE)
    sandbox.omneo.reaction(TENANT, "reward.created", "klaviyo-reward-issued")
    return key, secret


def _install(sandbox: Sandbox, bundle: Bundle, key: str) -> None:
    """Walk through the install's pages, with the sandbox Klaviyo saying yes at once."""
    sandbox.klaviyo.account(ACCOUNT, organization_name="Demo Store", country="Australia")
    sandbox.klaviyo.oauth.auto_consent = "allow"
    with requests.Session() as browser:
        browser.trust_env = False
        origin = {"Origin": bundle.url}
        form = {"tenant": TENANT, "installation_key": key}
        asked = browser.post(f"{bundle.url}/klaviyo/install", form, headers=origin, timeout=20)
        found = re.search(r'name="confirmation" value="([^"]+)"', asked.text)
        if found is None:
            raise StartError(f"The install stopped at {asked.url.partition('?')[0]}; see {bundle.logs}")
        form = {"confirmation": found[1], "decision": "connect"}
        done = browser.post(f"{bundle.url}/klaviyo/confirm", form, headers=origin, timeout=20)
        if done.status_code != 200:
            raise StartError(f"The install was not confirmed; see {bundle.logs}")
    sandbox.klaviyo.oauth.auto_consent = None  # from now on its page asks


def _command(environment: Mapping[str, str], *words: str, said: str) -> str:
    argv = [sys.executable, "-m", "deploy.tenants", *words]
    done = subprocess.run(
        argv, env=dict(environment), input=said, text=True, capture_output=True, timeout=60, check=False
    )
    if done.returncode:
        raise StartError(f"`{' '.join(words)}` failed: {done.stderr.strip()}")
    return done.stdout


def _send_one_event(sandbox: Sandbox, bundle: Bundle) -> list[Hop]:
    """Let a reward be issued in Omneo and return what everybody saw of it, in the order of time."""
    context = {
        "id": 1001,
        "value_initial": 20,
        "definition": {"name": "Birthday reward"},
        "profile": {"email": EMAIL, "first_name": "Jane"},
    }
    (delivery,) = sandbox.omneo.fire(TENANT, "reward.created", context)
    if delivery.status != 202:
        raise StartError(f"The target answered {delivery.status or delivery.error}; see {bundle.logs}")
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        attempts = _attempts(bundle)
        call = next((call for call in sandbox.klaviyo.calls.all() if call.path == "/api/events"), None)
        ours = [attempt for attempt in attempts if attempt["created_epoch"] > (delivery.sent_at or 0.0)]
        if sandbox.klaviyo.events(ACCOUNT) and ours and call is not None and call.answered_at:
            attempt = ours[-1]
            return [
                Hop(delivery.fired_at, "a reward is issued; its reaction fires", "Omneo"),
                Hop(delivery.sent_at or 0.0, "the target is called, signed", "Omneo"),
                Hop(attempt["created_epoch"], "the job is safe in the queue", "queue"),
                Hop(delivery.answered_at or 0.0, "the target answers 202", "Omneo"),
                Hop(attempt["dispatched_epoch"], "the worker gets the job", "queue"),
                Hop(call.received_at, "Create Event arrives", "Klaviyo"),
                Hop(call.answered_at, f"Klaviyo answers {call.status}", "Klaviyo"),
                Hop(attempt["answered_epoch"], f"the worker answers {attempt['status']}", "queue"),
            ]
        time.sleep(0.02)
    raise StartError(f"The event did not reach Klaviyo in {_WAIT_SECONDS:.0f} seconds; see {bundle.logs}")


def _attempts(bundle: Bundle) -> list[dict[str, Any]]:
    url = f"{bundle.tasks_http}/attempts?queue={TENANT}-klaviyo-outbound"
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own queue, on loopback
        attempts: list[dict[str, Any]] = json.load(answer)["attempts"]
    return [attempt for attempt in attempts if attempt["answered_epoch"]]


def _tell(hops: list[Hop], seconds: float) -> None:
    say("\nOne event went from Omneo to Klaviyo:\n")
    hops = sorted(hops, key=lambda hop: hop.at)
    for hop in hops:
        say(f"  {(hop.at - hops[0].at) * 1000:7.1f} ms  {hop.what:<42} seen by {hop.seen_by}")
    say(f"\nReady {seconds:.1f} seconds after the start.")


def _tell_what_next(sandbox: Sandbox, bundle: Bundle, data_dir: Path, key: str, secret: str) -> None:
    metric = f"{bundle.url}/{TENANT}/api/v1/targets/klaviyo/metric"
    body = json.dumps({"profile": {"email": EMAIL}, "points": 120})
    fault = json.dumps({"next": 3, "status": 500})
    (jane,) = sandbox.klaviyo.profiles(ACCOUNT)
    (customer,) = sandbox.omneo.profiles(TENANT)
    reward = {"id": "birthday-2027", "person_id": jane.id, "email": EMAIL}
    flow = json.dumps({**reward, "data": {"reward_definition_id": 1, "amount": "20"}})
    act = json.dumps({"account": ACCOUNT, "profile": jane.id})
    say(f"""
Try next:

  send a metric     curl -i '{metric}?metric=Points%20Earned' -H 'x-omneo-secret: {secret}' \\
                      -H 'Content-Type: application/json' -d '{body}'
  with an ID token  the same with '?metric=Points%20Earned&withToken=true'
  what arrived      curl -s '{sandbox.klaviyo.url}/_sandbox/events?account={ACCOUNT}'
  break Klaviyo     curl -s '{sandbox.klaviyo.url}/_sandbox/fail' -d '{fault}'
                    and send again: the job waits, and arrives
  issue a reward    curl -i '{bundle.url}/{TENANT}/api/v1/webhooks/klaviyo/rewards' -H 'x-omneo-secret: {secret}' \\
                      -H 'Content-Type: application/json' -d '{flow}'
                    and again: it is the same reward
  unsubscribe Jane  curl -s '{sandbox.klaviyo.url}/_sandbox/unsubscribe' -d '{act}'
  see it in Omneo   curl -s '{sandbox.omneo.url}/_sandbox/profiles?tenant={TENANT}', up to 12 seconds later
  sync Jane         curl -i '{bundle.url}/{TENANT}/api/v1/targets/klaviyo/upsert-profile-data' -H 'x-omneo-secret: {secret}' \\
                      -H 'Content-Type: application/json' -d '{json.dumps({"profile_id": customer["id"]})}'
  what and why      curl -s '{bundle.url}/{TENANT}/api/v1/profiles/{customer["id"]}/explain' -H 'Authorization: Bearer {key}'
  the whole base    curl -s '{bundle.url}/{TENANT}/api/v1/resync' -H 'Authorization: Bearer {key}' -X POST; `how it is` shows the run
  the queue         curl -s '{bundle.tasks_http}/queues'
  how it is         curl -s '{bundle.url}/{TENANT}/api/v1/status' -H 'Authorization: Bearer {key}'
  install again     open {bundle.url}/klaviyo/install and give {TENANT} and {key}
  the tenants       set -a; . {data_dir / "env"}; set +a; .venv/bin/python -m deploy.tenants list

Serving on {bundle.url}. Logs: {bundle.logs}. Ctrl-C stops everything.""")
