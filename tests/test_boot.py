"""Every function, started by the launcher Google's runtime uses, from the source root that is deployed, with the
environment that deployment gives it; and one event through all of them."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from deploy.local.bundle import Bundle
from deploy.local.processes import StartError
from deploy.local.sandbox import Sandbox
from deploy.staging import load_functions, stage
from shared.storage.encryption import new_key
from tests.support.emulators import FirestoreEmulator
from tests.support.world import OMNEO_TOKEN, SIGNING_SECRET, WEBHOOK_SECRET

ROOT = Path(__file__).parents[1]
TENANT = "acme"
ACCOUNT = "AcmeAc"
EMAIL = "canary-jane@example.org"


def given(sandbox: Sandbox, **changes: str) -> dict[str, str]:
    """Return what an operator gives a bundle."""
    return {
        "KLAVIYO_API_URL": sandbox.klaviyo.url,
        "OMNEO_API_URL": sandbox.omneo.url_template,
        "KLAVIYO_CLIENT_ID": sandbox.klaviyo.oauth.client_id,
        "KLAVIYO_CLIENT_SECRET": sandbox.klaviyo.oauth.client_secret,
        "ENCRYPTION_KEYS": f"k1:{new_key()}",
        "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:0",
        **changes,
    }


def command(environment: dict[str, str], *words: str, said: str) -> str:
    """Run an operator's command and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.tenants", *words],
        cwd=ROOT, env=environment, input=said, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def install(environment: dict[str, str], sandbox: Sandbox) -> None:
    """Make the tenant with the operator's commands."""
    sandbox.omneo.tenant(TENANT, token=OMNEO_TOKEN, signing_secret=SIGNING_SECRET)
    credentials = {"omneo_token": OMNEO_TOKEN, "omneo_signing_secret": SIGNING_SECRET}
    command(environment, "create", TENANT, said=json.dumps(credentials))
    tokens = sandbox.klaviyo.install(ACCOUNT).to_json()
    command(environment, "set", TENANT, "klaviyo_tokens", said=json.dumps(tokens))
    command(environment, "set", TENANT, "webhook_secret", said=WEBHOOK_SECRET)


METRIC = f"/{TENANT}/api/v1/targets/klaviyo/metric?metric=Points%20Earned"


def post(url: str, body: dict[str, Any], path: str = METRIC) -> tuple[int, dict[str, Any]]:
    """Call the metric target, or another path, with the webhook secret."""
    request = urllib.request.Request(
        f"{url}{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "x-omneo-secret": WEBHOOK_SECRET},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def events_sent(sandbox: Sandbox) -> list[Any]:
    """Return the calls of Create Event that Klaviyo has got."""
    return [call for call in sandbox.klaviyo.calls.all() if call.path == "/api/events"]


def wait_for_events(sandbox: Sandbox, count: int, seconds: float = 15.0) -> list[Any]:
    """Return the events Klaviyo has recorded, once there are so many."""
    deadline = time.monotonic() + seconds
    while len(sandbox.klaviyo.events(ACCOUNT)) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    return list(sandbox.klaviyo.events(ACCOUNT))


@pytest.fixture(params=["sqlite", "firestore"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Return the variables of either store."""
    if request.param == "sqlite":
        return {"STORE": f"sqlite:{tmp_path}/documents.db"}
    emulator: FirestoreEmulator = request.getfixturevalue("firestore_emulator")
    project = request.getfixturevalue("firestore_project")
    return {"STORE": "firestore", "GOOGLE_CLOUD_PROJECT": project, "FIRESTORE_EMULATOR_HOST": emulator.host}


def test_an_event_travels_through_the_functions_as_they_are_deployed(
    tmp_path: Path, store: dict[str, str]
) -> None:
    with Sandbox(token_prefix="canary") as sandbox, Bundle(tmp_path, 0, given(sandbox, **store)) as bundle:
        install(bundle.environment, sandbox)
        status, answer = post(bundle.url, {"profile": {"email": EMAIL}, "points": 120})
        assert status == 202, answer
        (event,) = wait_for_events(sandbox, 1)
        assert event.properties == {"points": 120}
        assert event.unique_id == answer["id"]
        assert post(bundle.url, {"profile": {}})[0] == 400
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{bundle.url}/tasks/outbound", data=b"{}", timeout=10)


def test_a_reward_is_issued_once_by_the_functions_as_they_are_deployed(
    tmp_path: Path, store: dict[str, str]
) -> None:
    with Sandbox(token_prefix="canary") as sandbox, Bundle(tmp_path, 0, given(sandbox, **store)) as bundle:
        install(bundle.environment, sandbox)
        sandbox.omneo.reward_rules(TENANT, repeated_external_id="creates")
        sandbox.omneo.profile(TENANT, email=EMAIL)
        sandbox.omneo.reward_definition(TENANT, id=6, period=30, period_type="days")
        body = {
            "id": "order-7",
            "person_id": "",
            "email": EMAIL,
            "data": {"reward_definition_id": 6, "amount": "5"},
        }
        path = f"/{TENANT}/api/v1/webhooks/klaviyo/rewards"
        assert post(bundle.url, body, path) == (200, {"status": "created", "reward_id": 1})
        os.killpg(bundle.pid("rewards_webhook"), signal.SIGKILL)
        deadline = time.monotonic() + 20
        while (answer := post(bundle.url, body, path))[0] != 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert answer == (200, {"status": "exists", "reward_id": 1})
        assert post(bundle.url, {**body, "id": ""}, path)[1] == {"status": "created", "reward_id": 2}
        assert len(sandbox.omneo.rewards(TENANT)) == 2


def test_a_signed_delivery_travels_through_the_functions_as_they_are_deployed_and_changes_omneo(
    tmp_path: Path,
) -> None:
    """The only test that waits for a window to end, by the real clock: ten seconds and the two after it."""
    with Sandbox(token_prefix="canary") as sandbox, Bundle(tmp_path, 0, given(sandbox)) as bundle:
        install(bundle.environment, sandbox)
        jane = sandbox.omneo.profile(TENANT, email=EMAIL)
        person = sandbox.klaviyo.profile(ACCOUNT, email=EMAIL)
        hook = {
            "endpoint_url": f"{bundle.url}/{TENANT}/api/v1/webhooks/klaviyo/system",
            "secret_key": WEBHOOK_SECRET,
        }
        topics = [
            "event:klaviyo.subscribed_to_email_marketing",
            "event:klaviyo.unsubscribed_from_email_marketing",
        ]
        sandbox.klaviyo.webhook(ACCOUNT, "Omneo acme", topics=topics, **hook)
        sandbox.klaviyo.subscribe(ACCOUNT, person.id, at=time.time() - 60)
        sandbox.klaviyo.unsubscribe(ACCOUNT, person.id, at=time.time() - 30)
        done = sandbox.klaviyo.deliver(ACCOUNT, batch=1, copies=2, seed=5)
        # Twice as many where the set-up has made its own webhook by now: what comes twice counts once.
        assert {delivery.attempt.status for delivery in done} == {202}
        deadline = time.monotonic() + 40
        while len(sandbox.omneo.interactions(TENANT)) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        comms = sandbox.omneo.comms(TENANT, jane["id"])
        assert (comms["email_promo"], comms["email_optout"]) == (False, False)
        assert [row["signal"] for row in sandbox.omneo.interactions(TENANT)] == [1, -1]
        updates = [call for call in sandbox.omneo.calls.all() if call.path.endswith("/attributes/comms")]
        assert len(updates) <= 2  # four requests in one window, or at the turn of two


def test_a_worker_killed_in_the_middle_of_a_job_loses_nothing(tmp_path: Path) -> None:
    with Sandbox(token_prefix="canary") as sandbox, Bundle(tmp_path, 0, given(sandbox)) as bundle:
        install(bundle.environment, sandbox)
        sandbox.klaviyo.fail(1, match="POST /api/events", kind="hang", seconds=30, takes_effect=True)
        assert post(bundle.url, {"profile": {"email": EMAIL}})[0] == 202
        wait_for_events(sandbox, 1)  # Klaviyo has it; the worker waits for an answer that does not come
        os.killpg(bundle.pid("outbound_worker"), signal.SIGKILL)
        deadline = time.monotonic() + 20
        while len(sent := events_sent(sandbox)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(sent) == 2  # delivered again
        assert len(sandbox.klaviyo.events(ACCOUNT)) == 1  # and still one event


def test_a_job_that_waits_while_everything_is_shut_down_is_done_after_the_next_start(tmp_path: Path) -> None:
    with Sandbox(token_prefix="canary") as sandbox:
        variables = given(sandbox)
        with Bundle(tmp_path, 0, variables) as bundle:
            install(bundle.environment, sandbox)
            sandbox.klaviyo.fail(1, match="POST /api/events", status=429, headers={"Retry-After": "2"})
            assert post(bundle.url, {"profile": {"email": EMAIL}})[0] == 202
            deadline = time.monotonic() + 15
            while not events_sent(sandbox) and time.monotonic() < deadline:
                time.sleep(0.02)
        assert sandbox.klaviyo.events(ACCOUNT) == []
        with Bundle(tmp_path, 0, variables):
            assert len(wait_for_events(sandbox, 1)) == 1


@pytest.mark.parametrize("name", sorted(load_functions()))
def test_a_function_without_its_environment_says_everything_it_lacks_in_one_message(
    name: str, tmp_path: Path
) -> None:
    root = stage(name, tmp_path / "staged")
    launcher = Path(sys.executable).with_name("functions-framework")
    done = subprocess.run(
        [launcher, "--target", load_functions()[name].entry_point, "--host", "127.0.0.1", "--port", "0"],
        cwd=root, env={"KLAVIYO_REVISION": "canary-soon"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    (line,) = done.stdout.splitlines()
    message = json.loads(line)["message"]
    for variable in ("ENCRYPTION_KEYS", "GOOGLE_CLOUD_PROJECT", "KLAVIYO_REVISION"):
        assert variable in message
    given = load_functions()[name].variables
    for variable in ("INBOUND_WORKER_URL", "OUTBOUND_WORKER_URL", "EXTENSION_URL", "KLAVIYO_CLIENT_SECRET"):
        assert (variable in message) == (variable in given), variable
    assert "Traceback" not in done.stderr


def test_a_bundle_that_cannot_start_says_why(tmp_path: Path) -> None:
    with Sandbox() as sandbox:
        broken = given(sandbox, ENCRYPTION_KEYS="k1:c2hvcnQ=")
        with pytest.raises(StartError, match="ENCRYPTION_KEYS"), Bundle(tmp_path, 0, broken):
            pass
