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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from deploy.local.bundle import Bundle
from deploy.local.processes import StartError
from deploy.local.sandbox import Sandbox
from deploy.staging import load_functions, stage
from shared.storage.encryption import new_key
from tests.support.commands import run_command
from tests.support.emulators import FirestoreEmulator
from tests.support.world import (
    OMNEO_TOKEN,
    SIGNING_SECRET,
    WEBHOOK_SECRET,
    WORKER_ANSWERS,
    told_to_the_queue,
)

EMAIL = "canary-jane@example.org"
PATIENCE = 90  # seconds that a busy machine may take; nobody waits for them whose condition is met
METRIC = "/targets/klaviyo/metric?metric=Points%20Earned"
REWARDS = "/webhooks/klaviyo/rewards"


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


@dataclass
class Deployed:
    """A bundle that runs, and the services that it calls. Each test has a tenant of its own in it."""

    sandbox: Sandbox
    bundle: Bundle
    folder: Path
    variables: dict[str, str]

    def start_again(self) -> None:
        """Start the bundle anew, with what it has kept."""
        self.bundle = Bundle(self.folder, 0, self.variables)
        self.bundle.start()
        self.bundle.wait_ready(PATIENCE)


def install(environment: dict[str, str], sandbox: Sandbox, tenant: str) -> None:
    """Make the tenant with the operator's commands; its Klaviyo account has its name."""
    sandbox.omneo.tenant(tenant, token=OMNEO_TOKEN, signing_secret=SIGNING_SECRET)
    credentials = {"omneo_token": OMNEO_TOKEN, "omneo_signing_secret": SIGNING_SECRET}
    tokens = sandbox.klaviyo.install(tenant).to_json()
    for words, said in (
        (("create", tenant), json.dumps(credentials)),
        (("set", tenant, "klaviyo_tokens"), json.dumps(tokens)),
        (("set", tenant, "webhook_secret"), WEBHOOK_SECRET),
    ):
        done = run_command(*words, environment=environment, given=said)
        assert done.status == 0, done.err


def post(url: str, tenant: str, body: dict[str, Any], path: str = METRIC) -> tuple[int, dict[str, Any]]:
    """Call the metric target, or another path, with the webhook secret."""
    request = urllib.request.Request(
        f"{url}/{tenant}/api/v1{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "x-omneo-secret": WEBHOOK_SECRET},
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def events_sent(sandbox: Sandbox, email: str) -> list[Any]:
    """Return the calls of Create Event about a person that Klaviyo has got."""
    calls = sandbox.klaviyo.calls.all()
    return [call for call in calls if call.path == "/api/events" and email.encode() in call.body]


def wait_for_events(sandbox: Sandbox, tenant: str, count: int) -> list[Any]:
    """Return the events Klaviyo has recorded, once there are so many."""
    deadline = time.monotonic() + PATIENCE
    while len(sandbox.klaviyo.events(tenant)) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    return list(sandbox.klaviyo.events(tenant))


@pytest.fixture(scope="module", params=["sqlite", "firestore"])
def deployed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Run one bundle for all tests of a store: to start its processes takes longer than what they are asked."""
    folder = tmp_path_factory.mktemp(request.param)
    store = {"STORE": f"sqlite:{folder}/documents.db"}
    if request.param == "firestore":
        emulator: FirestoreEmulator = request.getfixturevalue("firestore_emulator")
        store = {
            "STORE": "firestore",
            "GOOGLE_CLOUD_PROJECT": f"boot-{uuid4().hex[:12]}",
            "FIRESTORE_EMULATOR_HOST": emulator.host,
        }
    with Sandbox(token_prefix="canary") as sandbox:
        variables = given(sandbox, **store)
        with Bundle(folder, 0, variables) as bundle:
            deployed = Deployed(sandbox, bundle, folder, variables)
            try:
                yield deployed
                # A bug that the next delivery heals is still a bug. A worker that was killed has answered nothing.
                assert told_to_the_queue(deployed.bundle.tasks_http) <= {*WORKER_ANSWERS, None}
            finally:
                deployed.bundle.stop()


def test_an_event_travels_through_the_functions_as_they_are_deployed(deployed: Deployed) -> None:
    sandbox, url = deployed.sandbox, deployed.bundle.url
    install(deployed.bundle.environment, sandbox, "event")
    status, answer = post(url, "event", {"profile": {"email": EMAIL}, "points": 120})
    assert status == 202, answer
    (event,) = wait_for_events(sandbox, "event", 1)
    assert event.properties == {"points": 120}
    assert event.unique_id == answer["id"]
    assert post(url, "event", {"profile": {}})[0] == 400
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{url}/tasks/outbound", data=b"{}", timeout=PATIENCE)


def test_a_reward_is_issued_once_by_the_functions_as_they_are_deployed(deployed: Deployed) -> None:
    sandbox, bundle = deployed.sandbox, deployed.bundle
    install(bundle.environment, sandbox, "reward")
    sandbox.omneo.reward_rules("reward", repeated_external_id="creates")
    sandbox.omneo.profile("reward", email=EMAIL)
    sandbox.omneo.reward_definition("reward", id=6, period=30, period_type="days")
    body = {
        "id": "order-7",
        "person_id": "",
        "email": EMAIL,
        "data": {"reward_definition_id": 6, "amount": "5"},
    }
    assert post(bundle.url, "reward", body, REWARDS) == (200, {"status": "created", "reward_id": 1})
    os.killpg(bundle.pid("rewards_webhook"), signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while (answer := post(bundle.url, "reward", body, REWARDS))[0] != 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert answer == (200, {"status": "exists", "reward_id": 1})
    again = post(bundle.url, "reward", {**body, "id": ""}, REWARDS)
    assert again[1] == {"status": "created", "reward_id": 2}
    assert len(sandbox.omneo.rewards("reward")) == 2


@pytest.mark.parametrize("deployed", ["sqlite"], indirect=True)
def test_a_signed_delivery_travels_through_the_functions_as_they_are_deployed_and_changes_omneo(
    deployed: Deployed,
) -> None:
    """The only test that waits for a window to end, by the real clock: ten seconds and the two after it."""
    sandbox, bundle = deployed.sandbox, deployed.bundle
    install(bundle.environment, sandbox, "consent")
    jane = sandbox.omneo.profile("consent", email=EMAIL)
    person = sandbox.klaviyo.profile("consent", email=EMAIL)
    hook = {
        "endpoint_url": f"{bundle.url}/consent/api/v1/webhooks/klaviyo/system",
        "secret_key": WEBHOOK_SECRET,
    }
    topics = [
        "event:klaviyo.subscribed_to_email_marketing",
        "event:klaviyo.unsubscribed_from_email_marketing",
    ]
    sandbox.klaviyo.webhook("consent", "Omneo consent", topics=topics, **hook)
    sandbox.klaviyo.subscribe("consent", person.id, at=time.time() - 60)
    sandbox.klaviyo.unsubscribe("consent", person.id, at=time.time() - 30)
    done = sandbox.klaviyo.deliver("consent", batch=1, copies=2, seed=5)
    # Twice as many where the set-up has made its own webhook by now: what comes twice counts once.
    assert {delivery.attempt.status for delivery in done} == {202}
    deadline = time.monotonic() + PATIENCE
    while len(sandbox.omneo.interactions("consent")) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    comms = sandbox.omneo.comms("consent", jane["id"])
    assert (comms["email_promo"], comms["email_optout"]) == (False, False)
    assert [row["signal"] for row in sandbox.omneo.interactions("consent")] == [1, -1]
    updates = [call for call in sandbox.omneo.calls.all() if call.path.endswith("/attributes/comms")]
    assert len(updates) <= 2  # four requests in one window, or at the turn of two


@pytest.mark.parametrize("deployed", ["sqlite"], indirect=True)
def test_a_worker_killed_in_the_middle_of_a_job_loses_nothing(deployed: Deployed) -> None:
    sandbox, bundle, email = deployed.sandbox, deployed.bundle, "canary-killed@example.org"
    install(bundle.environment, sandbox, "killed")
    sandbox.klaviyo.fail(1, match="POST /api/events", kind="hang", seconds=30, takes_effect=True)
    assert post(bundle.url, "killed", {"profile": {"email": email}})[0] == 202
    wait_for_events(sandbox, "killed", 1)  # Klaviyo has it; the worker waits for an answer that does not come
    os.killpg(bundle.pid("outbound_worker"), signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while len(sent := events_sent(sandbox, email)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(sent) == 2  # delivered again
    assert len(sandbox.klaviyo.events("killed")) == 1  # and still one event


@pytest.mark.parametrize("deployed", ["sqlite"], indirect=True)
def test_a_job_that_waits_while_everything_is_shut_down_is_done_after_the_next_start(
    deployed: Deployed,
) -> None:
    sandbox, email = deployed.sandbox, "canary-waits@example.org"
    install(deployed.bundle.environment, sandbox, "waits")
    sandbox.klaviyo.fail(99, match="POST /api/events", status=429, headers={"Retry-After": "2"})
    assert post(deployed.bundle.url, "waits", {"profile": {"email": email}})[0] == 202
    deadline = time.monotonic() + PATIENCE
    while not events_sent(sandbox, email) and time.monotonic() < deadline:
        time.sleep(0.02)
    deployed.bundle.stop()
    assert sandbox.klaviyo.events("waits") == []
    sandbox.klaviyo.faults.clear()
    deployed.start_again()
    assert len(wait_for_events(sandbox, "waits", 1)) == 1


@pytest.mark.parametrize("name", sorted(load_functions()))
def test_a_function_without_its_environment_says_everything_it_lacks_in_one_message(
    name: str, tmp_path: Path
) -> None:
    root = stage(name, tmp_path / "staged")
    launcher = Path(sys.executable).with_name("functions-framework")
    done = subprocess.run(
        [launcher, "--target", load_functions()[name].entry_point, "--host", "127.0.0.1", "--port", "0"],
        cwd=root, env={"KLAVIYO_REVISION": "canary-soon"}, capture_output=True, text=True, timeout=PATIENCE, check=False,
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
