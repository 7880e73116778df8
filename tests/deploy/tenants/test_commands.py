"""`python -m deploy.tenants`, run as an operator runs it: as a process, with an environment, input and perhaps a terminal.

Every run is also checked for what must never be seen: a secret that was given or stored, and a traceback.
"""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from google.cloud import tasks_v2
from pydantic import SecretStr

from deploy.local.free_ports import free_port
from deploy.local.tasks import TasksEmulator
from deploy.tenants.keys import set_value
from shared.consent.inbox import Inbox
from shared.consent.ledger import ConsentLedger, ConsentRecord
from shared.consent.memories import ConsentMemories
from shared.consent_events import Channel, SystemEvent
from shared.direction import Direction
from shared.errors import InvalidPayloadError
from shared.jobs.cloud_tasks import CloudTasksQueue, tasks_client
from shared.jobs.dead_job import DeadJob
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import SendMetric
from shared.metrics.backlog import Backlog
from shared.profiles.waiting import Waiting
from shared.records.outbox import Outbox
from shared.rewards.attempts import RewardAttempts
from shared.rewards.claims import Person, RewardClaims
from shared.rewards.counts import RewardCounts
from shared.services import Services
from shared.settings import Needs, Settings
from shared.storage.encryption import KeyRing, new_key
from shared.storage.sqlite import SqliteDocuments
from shared.targets.unheard import Acceptance, UnheardCalls
from shared.tenants.keys import matches
from shared.tenants.secret_uses import SecretUses
from shared.tenants.tenants import (
    Outage,
    Provisions,
    ProvisionStep,
    StepState,
    StoredSecret,
    Tenant,
    TenantStore,
)
from shared.web.authentication import shared_secret
from tests.support.commands import run_command, without_acts
from tests.support.world import OMNEO_TOKEN, SIGNING_SECRET, WEBHOOK_SECRET, Clock, a_tenant

REPOSITORY = Path(__file__).parents[3]
CREDENTIALS = json.dumps({"omneo_token": "canary-token", "omneo_signing_secret": "canary-signing"})
TOKENS = {
    "access_token": "canary-access",
    "refresh_token": "canary-refresh",
    "expires_in": 3600,
    "scope": "events:write profiles:read",
}
UNKNOWN = "Error: There is no such tenant. `list` shows all tenants.\n"
NOW = Clock().now
OF_CONSENT = ("inbox", "consent", "consent_ledger", "waiting_profiles")


@dataclass
class Result:
    """What a command came to."""

    status: int
    out: str
    err: str
    acts: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        assert "canary" not in self.out + self.err, "a secret was shown"
        assert "Traceback" not in self.err, "the operator got a traceback"


@dataclass
class Operator:
    """Somebody at a shell: an environment, and the store it names."""

    folder: Path
    environment: dict[str, str]
    clean_up: list[SqliteDocuments] = field(default_factory=list)

    def start(self, *args: str, **changes: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "deploy.tenants", *args],
            cwd=REPOSITORY,
            env={**self.environment, **changes},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *args: str, given: str | bytes = "", **changes: str) -> Result:
        if isinstance(given, bytes):  # how it is decoded is the interpreter's affair
            process = self.start(*args, **changes)
            out, err = process.communicate(given, timeout=60)
            return Result(process.returncode, out.decode(), *without_acts(err.decode()))
        done = run_command(*args, environment={**self.environment, **changes}, given=given)
        return Result(done.status, done.out, done.err, done.acts)

    def on_a_terminal(self, *args: str, answers: Mapping[str, str]) -> tuple[Result, str]:
        """Run at a terminal, answer each prompt, and return also what the terminal showed."""
        ours, theirs = pty.openpty()
        # A new session takes the first terminal that it opens for its own.
        command = ["sh", "-c", 'exec "$@" <>"$0" 2>&0', os.ttyname(theirs)]
        process = subprocess.Popen(
            [*command, sys.executable, "-m", "deploy.tenants", *args],
            cwd=REPOSITORY,
            env={**self.environment, "TERM": "xterm"},
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            shown = "".join(_answered(ours, process, answers))
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
            os.close(ours)
            os.close(theirs)
        return Result(process.returncode, out.decode(), shown), shown

    @property
    def documents(self) -> SqliteDocuments:
        documents = SqliteDocuments(self.folder / "documents.db")
        self.clean_up.append(documents)
        return documents

    @property
    def services(self) -> Services:
        services = Services(Settings.from_env(self.environment, Needs.STORE))
        self.clean_up.append(cast("SqliteDocuments", services.documents))
        return services

    @property
    def keys(self) -> KeyRing:
        return KeyRing.parse(self.environment["ENCRYPTION_KEYS"])

    @property
    def tenants(self) -> TenantStore:
        return TenantStore(self.documents, self.keys)

    @property
    def outbox(self) -> Outbox:
        return Outbox(self.documents, self.keys)

    @property
    def backlog(self) -> Backlog:
        return Backlog(self.documents, self.keys)

    @property
    def dead_jobs(self) -> DeadJobStore:
        return DeadJobStore(self.documents, self.keys)

    def tenant(self, name: str = "acme", **changes: Any) -> Tenant:
        """Store a tenant."""
        self.tenants.create(a_tenant(name, NOW, **changes))
        return self.read(name)

    def read(self, name: str = "acme") -> Tenant:
        tenant = self.tenants.find(name)
        assert tenant is not None
        return tenant


def _answered(ours: int, process: "subprocess.Popen[bytes]", answers: Mapping[str, str]) -> Iterator[str]:
    """Yield what the terminal shows, and type an answer when its prompt waits for one."""
    waiting, unread, deadline = dict(answers), "", time.monotonic() + 30
    while process.poll() is None or select.select([ours], [], [], 0)[0]:
        assert time.monotonic() < deadline, f"it waits for something; the terminal shows {unread!r}"
        if not select.select([ours], [], [], 0.05)[0]:
            continue
        shown = os.read(ours, 4096).decode()
        yield shown
        unread += shown
        for prompt in [prompt for prompt in waiting if unread.endswith(prompt)]:
            os.write(ours, f"{waiting.pop(prompt)}\n".encode())
            unread = ""


def environment(folder: Path, emulator: str) -> dict[str, str]:
    """Return everything that the commands need, and nothing of this process but where programs are."""
    return {
        "PATH": os.environ["PATH"],
        "STORE": f"sqlite:{folder / 'documents.db'}",
        "ENCRYPTION_KEYS": f"k1:{new_key()}",
        "QUEUE": "local",
        "CLOUD_TASKS_EMULATOR_HOST": emulator,
        "EXTENSION_URL": "https://extension.example.org",
        "KLAVIYO_CLIENT_ID": "client",
        "KLAVIYO_CLIENT_SECRET": "canary-client-secret",
        "KLAVIYO_API_URL": "http://127.0.0.1:1",  # nobody answers there
        "OMNEO_API_URL": "http://127.0.0.1:1/{tenant}",
    }


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    person = Operator(tmp_path, environment(tmp_path, "127.0.0.1:1"))
    assert list(person.tenants.names()) == []  # a store with nobody in it
    yield person
    for documents in person.clean_up:
        documents.close()


@pytest.fixture
def queued(operator: Operator, tasks: TasksEmulator) -> Operator:
    """Return an operator whose queue runs."""
    operator.environment["CLOUD_TASKS_EMULATOR_HOST"] = tasks.grpc_address
    return operator


class Queues:
    """The queues as their own client sees them."""

    def __init__(self, operator: Operator) -> None:
        settings = Settings.from_env(
            {**operator.environment, "OUTBOUND_WORKER_URL": "http://127.0.0.1:1"},
            Needs.OUTBOUND | Needs.QUEUES,
        ).queue
        assert settings is not None
        self.client = tasks_client(settings)
        self.queue = CloudTasksQueue(settings, self.client, Clock())

    def running(self) -> list[str]:
        found = self.client.list_queues(parent="projects/local/locations/local")
        return sorted(
            queue.name.rpartition("/")[2] for queue in found if queue.state == tasks_v2.Queue.State.RUNNING
        )

    def tasks(self, queue: str) -> int:
        return len(list(self.client.list_tasks(parent=f"projects/local/locations/local/queues/{queue}")))


@pytest.fixture
def queues(queued: Operator) -> Iterator[Queues]:
    found = Queues(queued)
    with closing(found.client.transport):
        yield found


@pytest.fixture(scope="module")
def without_a_queue(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Operator, dict[str, "subprocess.Popen[bytes]"]]]:
    """Start what needs a queue where none is listening. It takes seconds to give up, so it waits beside the other tests."""
    folder = tmp_path_factory.mktemp("without_a_queue")
    person = Operator(folder, environment(folder, f"127.0.0.1:{free_port()}"))
    person.tenant("acme")
    person.tenant("beta")
    processes = {
        "set": person.start("set", "acme", "klaviyo_tokens"),
        "delete": person.start("delete", "beta", "--yes"),
    }
    for process, given in zip(processes.values(), (json.dumps(TOKENS), ""), strict=True):
        assert process.stdin is not None
        process.stdin.write(given.encode())
        process.stdin.close()
        process.stdin = None
    yield person, processes
    for process in processes.values():
        process.kill()
        process.communicate()
    for documents in person.clean_up:
        documents.close()


def a_decision(operator: Operator, tenant: Tenant) -> None:
    """Store what an opt-out of Klaviyo's leaves behind."""
    documents, clock = operator.documents, Clock()
    event = SystemEvent(id="e1", topic="unsubscribed_from_email_marketing", profile="P1", at=NOW)
    Inbox(documents, clock).add(tenant.name, "AcmeAc", event)
    ConsentMemories(documents).change(
        tenant.name, "O1", lambda known: {Channel.SMS: replace(known[Channel.SMS], omneo_in=NOW)}
    )
    record = ConsentRecord(NOW, Channel.EMAIL, "subscribed", "unsubscribed", "klaviyo", "e1")
    ConsentLedger(documents, clock).record(tenant, "O1", record)


@pytest.fixture(autouse=True)
def _start_early(without_a_queue: object) -> None:
    """See `without_a_queue`."""


def a_dead_job(tenant: str, id: str = "job-1") -> DeadJob:
    return DeadJob(
        id=id,
        tenant=tenant,
        kind="send-metric",
        reason="refused",
        detail="canary-detail",
        body=b"canary-body",
        attempts=1,
        died_at=NOW,
        expire_at=NOW + timedelta(days=30),
    )


class TestCreate:
    def test_the_installation_key_stands_alone_on_standard_output(self, operator: Operator) -> None:
        result = operator.run("create", "acme-stg", given=CREDENTIALS)
        assert result.status == 0
        assert re.fullmatch(r"oik_[A-Za-z0-9_-]{27}\n", result.out)
        assert result.err == "Tenant acme-stg is created. Its installation key, which is shown only now:\n"
        tenant = operator.read("acme-stg")
        assert matches(result.out.strip(), [key.hash for key in tenant.installation_keys])
        assert tenant.omneo_token.get_secret_value() == "canary-token"
        assert [s.value.get_secret_value() for s in tenant.omneo_signing_secrets] == ["canary-signing"]
        assert len(tenant.webhook_secrets[0].value.get_secret_value()) >= 16
        assert tenant.settings.task_queue_name == "acme-stg"
        assert tenant.klaviyo is None

    def test_each_tenant_gets_a_ledger_key_of_its_own(self, operator: Operator) -> None:
        made = set()
        for name in ("acme", "acme-stg"):
            assert operator.run("create", name, given=CREDENTIALS).status == 0
            key = operator.read(name).ledger_key
            assert key is not None
            made.add(key.get_secret_value())
        assert len(made) == 2
        assert min(map(len, made)) >= 64

    def test_on_a_terminal_it_asks_and_does_not_show_what_is_typed(self, operator: Operator) -> None:
        answers = {"omneo_token: ": "canary-token", "omneo_signing_secret: ": "canary-signing"}
        result, shown = operator.on_a_terminal("create", "acme", answers=answers)
        assert result.status == 0
        assert all(prompt in shown for prompt in answers)
        assert re.fullmatch(r"oik_[A-Za-z0-9_-]{27}\n", result.out)
        tenant = operator.read()
        assert tenant.omneo_token.get_secret_value() == "canary-token"
        assert [s.value.get_secret_value() for s in tenant.omneo_signing_secrets] == ["canary-signing"]

    @pytest.mark.parametrize(
        "given",
        [
            "",
            "canary",
            '["canary"]',
            '{"omneo_token": "canary"}',
            '{"omneo_token": "canary", "omneo_signing_secret": 1}',
            '{"omneo_token": "canary", "omneo_signing_secret": ""}',
            '{"omneo_token": "can ary", "omneo_signing_secret": "canary"}',
            '{"omneo_token": "canary", "omneo_signing_secret": "canary\\ncanary"}',
            '{"omneo_token": "cänary", "omneo_signing_secret": "canary"}',
            '{"omneo_token": "canary\\ud800", "omneo_signing_secret": "canary"}',
            b'{"omneo_token": "canary\xff", "omneo_signing_secret": "canary"}',
            "[" * 100_000,
        ],
        ids=range(12),
    )
    def test_input_that_cannot_be_used_is_explained_and_nothing_is_stored(
        self, operator: Operator, given: str | bytes
    ) -> None:
        result = operator.run("create", "acme", given=given)
        assert (result.status, result.out) == (1, "")
        assert re.match(r"Error: (Give|omneo_token must|omneo_signing_secret must) ", result.err)
        assert operator.tenants.find("acme") is None

    @pytest.mark.parametrize("name", ["", "Acme", "acme.evil", "-acme", "a/b", "..", "a" * 41])
    def test_a_name_that_cannot_be_a_tenants_is_refused(self, operator: Operator, name: str) -> None:
        result = operator.run("create", "--", name, given=CREDENTIALS)
        assert result == Result(
            1, "", "Error: A tenant's name has 1 to 40 lowercase letters, digits and inner hyphens.\n"
        )

    def test_a_tenant_that_exists_stays_as_it_is(self, operator: Operator) -> None:
        before = operator.tenant()
        result = operator.run("create", "acme", given=CREDENTIALS)
        assert (result.status, result.out) == (1, "")
        assert "exists" in result.err
        assert operator.read() == before


class TestShowing:
    def test_the_list_says_how_each_is_connected(self, queued: Operator, queues: Queues) -> None:
        for name in ("acme", "beta", "gamma"):
            queued.tenant(name)
        queued.run("set", "beta", "klaviyo_tokens", given=json.dumps(TOKENS))
        queued.run("set", "gamma", "klaviyo_tokens", given=json.dumps(TOKENS))

        def disconnected(tenant: Tenant) -> Tenant:
            assert tenant.klaviyo is not None
            refused = tenant.klaviyo.model_copy(update={"disconnected_reason": "invalid_grant"})
            return tenant.model_copy(update={"klaviyo": refused, "outages": (Outage(began=NOW),)})

        queued.tenants.change("gamma", disconnected)
        result = queued.run("list")
        assert result == Result(0, "acme\tnot installed\nbeta\tconnected\ngamma\tdisconnected\n", "")
        listed = json.loads(queued.run("list", "--json").out)
        assert listed[1] == {"tenant": "beta", "klaviyo": "connected"}

    def test_nobody_is_a_list_too(self, operator: Operator) -> None:
        assert operator.run("list") == Result(0, "", "")

    def test_a_store_that_is_not_there_is_no_empty_list(self, operator: Operator) -> None:
        path = operator.folder / "elsewhere.db"
        for args in (("list",), ("show", "acme"), ("reencrypt",)):
            result = operator.run(*args, STORE=f"sqlite:{path}")
            assert (result.status, result.out) == (1, "")
            assert result.err.startswith(f"Error: There is no store at {path}.")
        assert not path.exists()
        assert operator.run("create", "acme", given=CREDENTIALS, STORE=f"sqlite:{path}").status == 0

    def test_one_that_cannot_be_read_does_not_hide_the_others(self, operator: Operator) -> None:
        for name in ("acme", "beta"):
            operator.tenant(name)
        operator.documents.update("tenants", "acme", {"omneo_token": {"$sealed": "gone.AAAA"}})
        result = operator.run("list")
        assert result.status == 0
        first, second = result.out.splitlines()
        assert first.startswith("acme\tunreadable: omneo_token of acme was written with a key that")
        assert second == "beta\tnot installed"

    def test_a_tenant_is_shown_without_its_secrets(self, queued: Operator, queues: Queues) -> None:
        tenant = queued.tenant()
        queued.run("set", "acme", "klaviyo_tokens", given=json.dumps(TOKENS))
        result = queued.run("show", "acme")
        assert (result.status, result.err) == (0, "")
        shown = json.loads(result.out)
        assert {"expires_at", "connected_at"} <= shown["klaviyo"].keys()
        assert (shown["klaviyo"]["state"], shown["klaviyo"]["scope"]) == ("connected", TOKENS["scope"])
        assert shown["settings"] == tenant.settings.model_dump()
        assert shown["queues"] == {
            "inbound": "acme-klaviyo-inbound",
            "outbound": "acme-klaviyo-outbound",
        }
        assert shown["webhook_secrets"] == [
            {"id": tenant.webhook_secrets[0].id, "created_at": "2026-11-21T10:00:00+00:00"}
        ]
        assert tenant.installation_keys[0].hash not in result.out

    def test_what_a_newer_revision_stored_is_not_shown(self, operator: Operator) -> None:
        operator.tenant()
        sealed = operator.keys.encrypt("canary", tenant="acme", field="settings.new_secret")
        operator.documents.update(
            "tenants",
            "acme",
            {"settings": {"task_queue_name": "acme", "new_secret": {"$sealed": sealed}, "new": "x"}},
        )
        result = operator.run("show", "acme")
        assert result.status == 0
        assert "new" not in json.loads(result.out)["settings"]


class TestSet:
    def test_omneos_token_is_replaced(self, operator: Operator) -> None:
        operator.tenant()
        result = operator.run("set", "acme", "omneo_token", given="canary-newer\n")
        assert result == Result(0, "omneo_token of acme is set.\n", "")
        assert operator.read().omneo_token.get_secret_value() == "canary-newer"

    def test_a_signing_secret_comes_before_the_one_that_was_valid(self, operator: Operator) -> None:
        operator.tenant()
        for value in ("canary-2", "canary-3", "canary-3"):
            assert operator.run("set", "acme", "omneo_signing_secret", given=value).status == 0
        kept = [s.value.get_secret_value() for s in operator.read().omneo_signing_secrets]
        assert kept == ["canary-3", "canary-2"]
        assert operator.run("rotate", "acme", "--omneo-signing-secret", "--finish").status == 0
        kept = [s.value.get_secret_value() for s in operator.read().omneo_signing_secrets]
        assert kept == ["canary-3"]

    def test_a_webhook_secret_comes_before_all_that_are_valid(self, operator: Operator) -> None:
        operator.tenant()
        for value in ("canary-sixteen-1", "canary-sixteen-2"):
            result = operator.run("set", "acme", "webhook_secret", given=value)
            assert result == Result(0, "webhook_secret of acme is set.\n", "")  # there is no Klaviyo to tell
        kept = [s.value.get_secret_value() for s in operator.read().webhook_secrets]
        assert kept == ["canary-sixteen-2", "canary-sixteen-1", WEBHOOK_SECRET]

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("namespace", "Klaviyo-2"),
            ("task_queue_name", "shop-au"),
            ("identity_handle", "klaviyo_au"),
            ("timezone", "Australia/Perth"),
            ("email_consent_unset", "leave"),
        ],
    )
    def test_a_setting_that_is_text_is_read_as_it_is(self, operator: Operator, key: str, value: str) -> None:
        operator.tenant()
        assert operator.run("set", "acme", key, given=f"{value}\n").status == 0
        assert json.loads(operator.run("show", "acme").out)["settings"][key] == value

    def test_any_other_setting_is_read_as_json_and_null_brings_the_default_back(
        self, operator: Operator
    ) -> None:
        before = operator.tenant()
        assert operator.run("set", "acme", "mappings", given='{"a.b": "c", "$sealed": "d"}\n').status == 0
        assert operator.read().settings.mappings == {"a.b": "c", "$sealed": "d"}
        emptied = operator.run("set", "acme", "mappings", given="\n")
        assert emptied == Result(1, "", "Error: mappings: standard input is empty. Give the value there.\n")
        assert operator.read().settings.mappings != {}
        assert operator.run("set", "acme", "mappings", given="null\n").status == 0
        assert operator.read() == before

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("dead_job_days", "7"),
            ("reward_max_amount", "12.5"),
            ("reward_max_per_hour", "100"),
            ("sms_transactional", "true"),
            ("mappings", '{"a.b": "c", "$sealed": "d"}'),
            ("profile_exclude_logic", '{"in": [{"var": "x"}, ["a", []]]}'),
        ],
    )
    def test_a_value_is_read_by_the_type_of_its_setting(
        self, operator: Operator, key: str, value: str
    ) -> None:
        before = operator.tenant()
        after = set_value(operator.services, "acme", key, value)
        assert after.settings.model_dump()[key] == json.loads(value)
        assert set_value(operator.services, "acme", key, "null") == before

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("identity_handle", "canary" * 17),
            ("timezone", "canary"),
            ("dead_job_days", "0"),
            ("dead_job_days", '"7"'),
            ("reward_max_amount", "NaN"),
            ("reward_max_amount", "1e999"),
            ("reward_max_per_hour", "9" * 5000),
            ("sms_transactional", "yes"),
            ("mappings", '["canary"]'),
            ("mappings", '{"canary\ud800": "x"}'),
            ("profile_exclude_logic", "[" * 100_000),
            ("profile_exclude_logic", '{"==": [NaN, 1]}'),
            ("profile_exclude_logic", '{"canary@example.org": {"": 1}}'),
        ],
        ids=range(13),
    )
    def test_a_bad_value_of_a_setting_is_refused_by_its_name(
        self, operator: Operator, key: str, value: str
    ) -> None:
        before = operator.tenant()
        with pytest.raises(InvalidPayloadError, match=f"^{key}") as caught:
            set_value(operator.services, "acme", key, value)
        assert "canary" not in str(caught.value)
        assert operator.read() == before

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("omneo_token", ""),
            ("omneo_token", "can ary"),
            ("omneo_token", b"canary\xff"),
            ("omneo_signing_secret", "cänary"),
            ("webhook_secret", "canary-fifteen."),
            ("webhook_secret", "canary canary canary"),
            ("namespace", "canary_"),
            ("task_queue_name", "canary-"),
            ("dead_job_days", "canary"),
            ("dead_job_days", "366"),
            ("mappings", '{"canary": 1}'),
            ("klaviyo_tokens", "canary"),
            ("klaviyo_tokens", '["canary"]'),
            ("klaviyo_tokens", "[" * 100_000),
            ("klaviyo_tokens", '{"access_token": "canary"}'),
            ("klaviyo_tokens", json.dumps({**TOKENS, "access_token": ""})),
            ("klaviyo_tokens", json.dumps({**TOKENS, "access_token": "canary\ncanary"})),
            ("klaviyo_tokens", json.dumps({**TOKENS, "expires_in": "canary"})),
            ("klaviyo_tokens", json.dumps({**TOKENS, "expires_in": 10**30})),
        ],
        ids=str,
    )
    def test_a_bad_value_is_refused_by_name_and_changes_nothing(
        self, operator: Operator, key: str, value: str | bytes
    ) -> None:
        before = operator.tenant()
        result = operator.run("set", "acme", key, given=value)
        assert (result.status, result.out) == (1, "")
        assert result.err.startswith(f"Error: {key}")
        assert operator.read() == before

    def test_only_settable_keys_can_be_set_and_a_mistaken_one_is_not_repeated(
        self, operator: Operator
    ) -> None:
        before = operator.tenant()
        for key in ("omneo_token=canary", "created_at", "name", "installation_keys"):
            result = operator.run("set", "acme", key, given="canary")
            assert (result.status, result.out) == (1, "")
            assert result.err.startswith("Error: That cannot be set. These can: omneo_token, ")
        assert operator.read() == before

    def test_a_secret_given_as_an_argument_is_refused_and_not_repeated(self, operator: Operator) -> None:
        before = operator.tenant()
        for args in (
            ("set", "acme", "omneo_token", "canary-secret"),
            ("create", "beta", "canary-secret", "canary-secret"),
            ("rotate", "acme", "--webhook-secret", "canary-secret"),
            ("rotate", "acme", "--webhook-secret=canary-secret"),
            ("create", "beta", "--omneo-token=canary-secret"),
        ):
            result = operator.run(*args, given=CREDENTIALS)
            assert (result.status, result.out) == (2, "")
        assert operator.read() == before
        assert operator.tenants.find("beta") is None

    def test_on_a_terminal_a_secret_is_asked_for_and_not_shown(self, operator: Operator) -> None:
        operator.tenant()
        result, shown = operator.on_a_terminal(
            "set", "acme", "omneo_token", answers={"omneo_token: ": " canary-typed "}
        )
        assert (result.status, result.out) == (0, "omneo_token of acme is set.\n")
        assert shown.startswith("omneo_token: ")
        assert operator.read().omneo_token.get_secret_value() == "canary-typed"

    def test_on_a_terminal_a_setting_is_asked_for_and_the_prompt_is_no_output(
        self, operator: Operator
    ) -> None:
        operator.tenant()
        result, shown = operator.on_a_terminal(
            "set", "acme", "dead_job_days", answers={"dead_job_days: ": "9"}
        )
        assert (result.status, result.out) == (0, "dead_job_days of acme is set.\n")
        assert shown.startswith("dead_job_days: ")
        assert operator.read().settings.dead_job_days == 9

    def test_what_queues_are_named_after_is_fixed_once_installed(
        self, queued: Operator, queues: Queues
    ) -> None:
        queued.tenant()
        queued.run("set", "acme", "klaviyo_tokens", given=json.dumps(TOKENS))
        for key in ("namespace", "task_queue_name"):
            result = queued.run("set", "acme", key, given="other")
            assert (result.status, result.out) == (1, "")
            assert f"{key} is fixed" in result.err


class TestWebhookSecrets:
    """A new one is given to Klaviyo by a job, where an account is connected."""

    TOLD = "A job gives it to Klaviyo.\n"
    NOT_TOLD = "Klaviyo does not have it yet: run `doctor --repair` where the queue can be reached.\n"

    @pytest.fixture
    def connected(self, queued: Operator, queues: Queues) -> Operator:
        queued.tenant()
        queued.run("set", "acme", "klaviyo_tokens", given=json.dumps(TOKENS))
        steps = {name: ProvisionStep(state=StepState.DONE) for name in ("webhook", "data source Omneo Dates")}
        queued.tenants.change(
            "acme", lambda tenant: tenant.model_copy(update={"provisions": Provisions(steps=steps)})
        )
        queued.environment["OUTBOUND_WORKER_URL"] = "http://127.0.0.1:1"
        return queued

    def test_set_pushes_it(self, connected: Operator, queues: Queues) -> None:
        result = connected.run("set", "acme", "webhook_secret", given="canary-sixteen-1")
        assert result == Result(0, "webhook_secret of acme is set.\n", self.TOLD)
        self.check_pushed(connected, queues)

    def test_rotate_pushes_it(self, connected: Operator, queues: Queues) -> None:
        result = connected.run("rotate", "acme", "--webhook-secret")
        assert result.status == 0
        assert result.err.startswith(self.TOLD)
        self.check_pushed(connected, queues)

    def test_where_the_queue_is_not_known_the_operator_hears_what_to_do(
        self, connected: Operator, queues: Queues
    ) -> None:
        result = connected.run(
            "set", "acme", "webhook_secret", given="canary-sixteen-1", OUTBOUND_WORKER_URL=""
        )
        assert result == Result(0, "webhook_secret of acme is set.\n", self.NOT_TOLD)
        assert queues.tasks("acme-klaviyo-outbound") == 0
        assert "webhook" not in connected.read().provisions.steps

    def test_ending_the_old_one_pushes_nothing(self, connected: Operator, queues: Queues) -> None:
        connected.run("rotate", "acme", "--webhook-secret")
        done = {"webhook": ProvisionStep(state=StepState.DONE)}
        connected.tenants.change(
            "acme", lambda tenant: tenant.model_copy(update={"provisions": Provisions(steps=done)})
        )
        assert connected.run("rotate", "acme", "--webhook-secret", "--finish").status == 0
        assert queues.tasks("acme-klaviyo-outbound") == 1

    def test_the_one_that_klaviyo_may_still_sign_with_does_not_end(
        self, connected: Operator, queues: Queues
    ) -> None:
        connected.run("rotate", "acme", "--webhook-secret")
        old = connected.read().webhook_secrets[1].id
        for args in (("--finish",), ("--finish", "--yes"), ("--end", old, "--yes")):
            result = connected.run("rotate", "acme", "--webhook-secret", *args)
            assert (result.status, result.out) == (1, "")
            assert "Klaviyo does not have the newest secret yet" in result.err
        assert len(connected.read().webhook_secrets) == 2

    @staticmethod
    def check_pushed(operator: Operator, queues: Queues) -> None:
        assert queues.tasks("acme-klaviyo-outbound") == 1
        assert list(operator.read().provisions.steps) == ["data source Omneo Dates"]


class TestKlaviyoTokens:
    def test_they_connect_the_tenant_and_its_queues_run(self, queued: Operator, queues: Queues) -> None:
        queued.tenant(outages=(Outage(began=NOW),))
        result = queued.run("set", "acme", "klaviyo_tokens", given=json.dumps(TOKENS))
        assert (result.status, result.out) == (
            0,
            "klaviyo_tokens of acme is set.\nThe queues of acme are ready.\n",
        )
        assert result.err.startswith("Which account it is could not be asked, because ")
        tenant = queued.read()
        assert tenant.klaviyo is not None
        assert tenant.klaviyo.access_token.get_secret_value() == "canary-access"
        assert tenant.klaviyo.refresh_token.get_secret_value() == "canary-refresh"
        assert tenant.klaviyo.expires_at - tenant.klaviyo.connected_at == timedelta(hours=1)
        assert all(outage.ended for outage in tenant.outages)
        assert queues.running() == ["acme-klaviyo-inbound", "acme-klaviyo-outbound"]

    def test_given_again_they_let_a_paused_queue_run(self, queued: Operator, queues: Queues) -> None:
        tenant = queued.tenant()
        queued.run("set", "acme", "klaviyo_tokens", given=json.dumps(TOKENS))
        queues.queue.pause(tenant, Direction.OUTBOUND)
        assert queues.running() == ["acme-klaviyo-inbound"]
        newer = {**TOKENS, "access_token": "canary-access-2"}
        assert queued.run("set", "acme", "klaviyo_tokens", given=json.dumps(newer)).status == 0
        assert queues.running() == ["acme-klaviyo-inbound", "acme-klaviyo-outbound"]
        tenant = queued.read()
        assert tenant.klaviyo is not None
        assert tenant.klaviyo.access_token.get_secret_value() == "canary-access-2"

    def test_without_the_queues_variables_nothing_is_stored(self, operator: Operator) -> None:
        before = operator.tenant()
        result = operator.run("set", "acme", "klaviyo_tokens", given=json.dumps(TOKENS), QUEUE="cloud-tasks")
        assert (result.status, result.out) == (1, "")
        assert "GOOGLE_CLOUD_REGION is not set" in result.err
        assert operator.read() == before


class TestRotate:
    def test_an_installation_key_is_added_beside_the_old_until_that_is_ended(
        self, operator: Operator
    ) -> None:
        old = operator.run("create", "acme", given=CREDENTIALS).out.strip()
        rotated = operator.run("rotate", "acme", "--installation-key")
        new = rotated.out.strip()
        assert (rotated.status, rotated.out) == (0, f"{new}\n")
        assert self.valid_keys(operator, old, new) == [True, True]
        first = operator.read().installation_keys[1].id
        ended = operator.run("rotate", "acme", "--installation-key", "--finish")
        says = "Only the newest installation-key of acme is valid now.\n"
        assert ended == Result(0, says, f"installation-key {first}: never used.\n")
        assert ended.acts == ("secret ended",)
        assert self.valid_keys(operator, old, new) == [False, True]
        assert operator.run("rotate", "acme", "--installation-key", "--finish").status == 0
        assert self.valid_keys(operator, old, new) == [False, True]

    def test_an_installation_key_ends_by_its_id_and_if_used_lately_only_by_a_clear_yes(
        self, operator: Operator
    ) -> None:
        keys = [operator.run("create", "acme", given=CREDENTIALS).out.strip()]
        keys += [operator.run("rotate", "acme", "--installation-key").out.strip() for _ in range(2)]
        newest, second, first = operator.read().installation_keys
        end = ("rotate", "acme", "--installation-key", "--end")
        SecretUses(operator.documents, lambda: datetime.now(UTC)).note("acme", second.id)
        refused = operator.run(*end, second.id)
        assert (refused.status, refused.acts) == (1, ())
        assert f"installation-key {second.id}: last used " in refused.err
        assert "The newest stays." in operator.run(*end, newest.id).err
        assert "no older installation-key" in operator.run(*end, "00000000").err
        assert self.valid_keys(operator, *keys) == [True, True, True]
        assert operator.run(*end, first.id).status == 0
        assert self.valid_keys(operator, *keys) == [False, True, True]
        assert operator.run(*end, second.id, "--yes").status == 0
        assert self.valid_keys(operator, *keys) == [False, False, True]

    def test_a_webhook_secret_is_added_beside_the_old_until_that_is_ended(self, operator: Operator) -> None:
        operator.tenant()
        rotated = operator.run("rotate", "acme", "--webhook-secret")
        new = rotated.out.strip()
        assert (rotated.status, rotated.out) == (0, f"{new}\n")
        assert len(new) >= 16
        secrets = operator.read().webhook_secrets
        assert [bool(shared_secret(s, secrets)) for s in (WEBHOOK_SECRET, new)] == [True, True]
        assert operator.run("rotate", "acme", "--webhook-secret", "--finish").status == 0
        secrets = operator.read().webhook_secrets
        assert [bool(shared_secret(s, secrets)) for s in (WEBHOOK_SECRET, new)] == [False, True]

    def test_one_that_was_used_lately_ends_only_by_a_clear_yes(self, operator: Operator) -> None:
        operator.tenant()
        operator.run("rotate", "acme", "--webhook-secret")
        old = operator.read().webhook_secrets[1].id
        SecretUses(operator.documents, lambda: datetime.now(UTC)).note("acme", old)
        refused = operator.run("rotate", "acme", "--webhook-secret", "--finish")
        assert (refused.status, refused.out) == (1, "")
        assert f"webhook-secret {old}: last used " in refused.err
        assert refused.err.endswith(
            "Error: This cannot be undone. Give --yes to do it without being asked.\n"
        )
        assert len(operator.read().webhook_secrets) == 2
        prompt = "1 of them were used in the last 7 days. End them? [y/N]: "
        asked, _ = operator.on_a_terminal(
            "rotate", "acme", "--webhook-secret", "--finish", answers={prompt: "n"}
        )
        assert asked.status == 1
        assert len(operator.read().webhook_secrets) == 2
        assert operator.run("rotate", "acme", "--webhook-secret", "--finish", "--yes").status == 0
        assert len(operator.read().webhook_secrets) == 1

    def test_no_more_are_valid_at_a_time_than_by_any_other_door(self, operator: Operator) -> None:
        many = tuple(
            StoredSecret(id=f"s{n}", value=SecretStr(f"canary-secret-number-{n}"), created_at=NOW)
            for n in range(10)
        )
        operator.tenant(webhook_secrets=many)
        result = operator.run("rotate", "acme", "--webhook-secret")
        assert (result.status, result.out) == (1, "")
        assert "10 are valid already" in result.err

    def test_one_is_ended_by_its_id(self, operator: Operator) -> None:
        operator.tenant()
        for _ in range(2):
            operator.run("rotate", "acme", "--webhook-secret")
        newest, middle, oldest = (secret.id for secret in operator.read().webhook_secrets)
        result = operator.run("rotate", "acme", "--webhook-secret", "--end", middle)
        assert (result.status, result.out) == (0, "1 webhook-secret of acme ended.\n")
        assert [secret.id for secret in operator.read().webhook_secrets] == [newest, oldest]
        for id in (newest, middle, "x"):
            assert operator.run("rotate", "acme", "--webhook-secret", "--end", id).status == 1
        assert [secret.id for secret in operator.read().webhook_secrets] == [newest, oldest]

    @pytest.mark.parametrize(
        "args",
        [
            (),
            ("--finish",),
            ("--omneo-signing-secret",),
            ("--installation-key", "--webhook-secret"),
            ("--webhook-secret", "--finish", "--end", "x"),
            ("--installation-key", "--finish", "--end", "x"),
        ],
    )
    def test_what_cannot_be_rotated_is_a_usage_error(self, operator: Operator, args: tuple[str, ...]) -> None:
        before = operator.tenant()
        result = operator.run("rotate", "acme", *args)
        assert (result.status, result.out) == (2, "")
        assert result.err.startswith("Usage: python -m deploy.tenants rotate")
        assert operator.read() == before

    @staticmethod
    def valid_keys(operator: Operator, *keys: str) -> list[bool]:
        hashes = [key.hash for key in operator.read().installation_keys]
        return [matches(key, hashes) for key in keys]


class TestDelete:
    def test_nothing_of_the_tenant_is_left_and_all_of_the_others(
        self, queued: Operator, queues: Queues
    ) -> None:
        for name in ("acme", "acme-stg"):
            tenant = queued.tenant(name, ledger_key=SecretStr("canary-ledger"))
            a_decision(queued, tenant)
            Waiting(queued.documents, lambda: NOW).note(name, "a-hash", "omneo-1")
            queued.run("set", name, "klaviyo_tokens", given=json.dumps(TOKENS))
            queued.dead_jobs.add(a_dead_job(name), keep=timedelta(days=30))
            queued.outbox.add(name, "Omneo Rewards", [{"n": 1}], job="j", accepted_at=NOW)
            queued.backlog.add(name, SendMetric(tenant=name, accepted_at=NOW, event={}), at=NOW)
            queues.queue.put(SendMetric(tenant=name, accepted_at=NOW, event={"email": "canary"}), tenant)
        assert queues.tasks("acme-klaviyo-outbound") == 1
        gone = queued.run("delete", "acme", "--yes", "--leave-install", "--with-ledger")
        assert gone == Result(0, "Tenant acme is deleted.\n", "")
        assert queued.tenants.find("acme") is None
        assert queued.dead_jobs.page("acme") == []
        assert not any(queued.outbox.waiting("acme", "Omneo Rewards"))
        assert any(queued.outbox.waiting("acme-stg", "Omneo Rewards"))
        assert [queued.backlog.count(name) for name in ("acme", "acme-stg")] == [0, 1]
        assert queues.tasks("acme-klaviyo-outbound") == 0
        assert queued.run("list").out == "acme-stg\tconnected\n"
        assert queues.tasks("acme-stg-klaviyo-outbound") == 1
        assert len(queued.dead_jobs.page("acme-stg")) == 1
        kept = {name: queued.documents.count(f"tenants/acme-stg/{name}") for name in OF_CONSENT}
        assert kept == dict.fromkeys(OF_CONSENT, 1)
        assert [queued.documents.count(f"tenants/acme/{name}") for name in OF_CONSENT] == [0, 0, 0, 0]

    def test_a_tenant_that_was_never_installed_has_no_queues_to_purge(self, queued: Operator) -> None:
        queued.tenant()
        assert queued.run("delete", "acme", "--yes").status == 0
        assert queued.tenants.find("acme") is None

    def test_what_it_issued_is_forgotten_and_nobody_elses_is(self, queued: Operator) -> None:
        for name in ("acme", "acme-stg"):
            queued.tenant(name)
            documents = queued.tenants._documents
            claim = RewardClaims(documents, lambda: NOW, lambda: "x").take(
                name, "order-7", Person("x", ""), "p-1", "b"
            )
            attempt = RewardAttempts(documents, lambda: NOW, lambda: "x").begin(name, "call", "p-1")
            place = RewardCounts(documents, lambda: NOW, lambda: 0.0).reserve(name, 5)
            assert None not in (claim, attempt, place)
            UnheardCalls(documents, lambda: NOW).note(name, "call", Acceptance("x", NOW))
        assert queued.run("delete", "acme", "--yes").status == 0
        kinds = ("reward_claims", "reward_attempts", "reward_counts", "unheard_calls")
        assert [documents.count(f"tenants/acme/{kind}") for kind in kinds] == [0, 0, 0, 0]
        assert [documents.count(f"tenants/acme-stg/{kind}") for kind in kinds] == [2, 1, 1, 1]

    def test_where_nobody_can_be_asked_it_is_refused(self, queued: Operator) -> None:
        queued.tenant()
        result = queued.run("delete", "acme")
        assert (result.status, result.out) == (1, "")
        assert result.err == "Error: This cannot be undone. Give --yes to do it without being asked.\n"
        assert queued.tenants.find("acme") is not None

    def test_on_a_terminal_it_asks_first(self, queued: Operator) -> None:
        queued.tenant()
        prompt = (
            "Uninstall and delete acme (not installed) and everything else it has stored,"
            " the consent ledger kept? [y/N]: "
        )
        result, shown = queued.on_a_terminal("delete", "acme", answers={prompt: "n"})
        assert (result.status, result.out) == (1, "")
        assert shown.startswith(prompt)
        assert queued.tenants.find("acme") is not None
        result, _ = queued.on_a_terminal("delete", "acme", answers={prompt: "y"})
        assert (result.status, result.out) == (0, "Tenant acme is deleted.\n")
        assert queued.tenants.find("acme") is None


class TestNewKeys:
    def test_a_new_key_is_one_that_the_variable_takes(self, operator: Operator) -> None:
        result = operator.run("new-key", STORE="", ENCRYPTION_KEYS="")
        assert (result.status, result.err) == (0, "")
        ring = KeyRing.parse(result.out.strip())
        assert re.fullmatch(r"k\d{14}", ring.writing_key)

    def test_after_reencrypt_the_old_key_can_be_dropped(self, operator: Operator) -> None:
        tenants = [operator.tenant(name) for name in ("acme", "beta")]
        # What a task without a readable tenant leaves behind lies on a desk of nobody's.
        for name in ("acme", "_unknown"):
            operator.dead_jobs.add(a_dead_job(name), keep=timedelta(days=30))
        operator.outbox.add("acme", "Omneo Rewards", [{"n": 1}], job="j", accepted_at=NOW)
        event = SendMetric(tenant="acme", accepted_at=NOW, event={"n": 1})
        operator.backlog.add("acme", event, at=NOW)
        old = operator.environment["ENCRYPTION_KEYS"]
        new = operator.run("new-key").out.strip()
        operator.environment["ENCRYPTION_KEYS"] = f"{new},{old}"
        due = Result(0, "10 secrets are sealed by an older key.\n", "")
        assert operator.run("reencrypt", "--dry-run") == due
        assert operator.run("reencrypt", "--dry-run") == due
        done = "secrets were sealed again. None is left that needs an older key.\n"
        assert operator.run("reencrypt") == Result(0, f"10 {done}", "")
        assert operator.run("reencrypt") == Result(0, f"0 {done}", "")
        operator.environment["ENCRYPTION_KEYS"] = new
        assert operator.run("list") == Result(0, "acme\tnot installed\nbeta\tnot installed\n", "")
        assert [operator.read(name) for name in ("acme", "beta")] == tenants
        assert [parcel.records for parcel in operator.outbox.waiting("acme", "Omneo Rewards")] == [
            ({"n": 1},)
        ]
        assert [waiting.job for waiting in operator.backlog.waiting("acme")] == [event]
        assert [operator.dead_jobs.page(name) for name in ("acme", "_unknown")] == [
            [a_dead_job("acme")],
            [a_dead_job("_unknown")],
        ]

    def test_what_cannot_be_sealed_again_is_named_and_the_rest_is_done(self, operator: Operator) -> None:
        for name in ("acme", "beta"):
            operator.tenant(name)
            operator.dead_jobs.add(a_dead_job(name), keep=timedelta(days=30))
        operator.documents.update("tenants", "acme", {"omneo_token": {"$sealed": "gone.AAAA"}})
        old = operator.environment["ENCRYPTION_KEYS"]
        new = f"new:{new_key()}"
        operator.environment["ENCRYPTION_KEYS"] = f"{new},{old}"
        result = operator.run("reencrypt")
        assert result == Result(1, "", "Error: These tenants could not be read or written: acme.\n")
        operator.environment["ENCRYPTION_KEYS"] = new
        assert operator.read("beta").omneo_token.get_secret_value() == OMNEO_TOKEN
        assert len(operator.dead_jobs.page("acme")) == 1

    def test_progress_is_shown_on_the_terminal_only(self, operator: Operator) -> None:
        operator.tenant()
        result, shown = operator.on_a_terminal("reencrypt", answers={})
        assert result.out == "0 secrets were sealed again. None is left that needs an older key.\n"
        assert "Tenants" in shown
        assert "100%" in shown


class TestWhatCommandsShare:
    @pytest.mark.parametrize(
        "args",
        [
            ("show",),
            ("set", "omneo_token"),
            ("rotate", "--installation-key"),
            ("rotate", "--webhook-secret", "--finish"),
            ("delete",),
        ],
        ids=" ".join,
    )
    def test_a_tenant_that_does_not_exist_is_said_to(self, operator: Operator, args: tuple[str, ...]) -> None:
        command, *rest = args
        for name in ("nobody", "a/b"):
            assert operator.run(command, name, *rest, given="canary-value") == Result(1, "", UNKNOWN)
        assert list(operator.tenants.names()) == []

    @pytest.mark.parametrize("args", [("list",), ("show", "acme"), ("create", "acme"), ("reencrypt",)])
    def test_an_environment_that_lacks_something_is_explained(
        self, operator: Operator, args: tuple[str, ...]
    ) -> None:
        result = operator.run(*args, STORE="canary", ENCRYPTION_KEYS="canary", given=CREDENTIALS)
        assert result == Result(
            1,
            "",
            "Error: The environment needs attention:\n"
            "  ENCRYPTION_KEYS pair 1 is not of the form id:key (id: letters, digits, - and _)\n"
            "  GOOGLE_CLOUD_PROJECT is not set\n"
            "  STORE must be firestore or sqlite:PATH\n",
        )

    def test_a_store_that_cannot_be_used_is_explained(self, operator: Operator) -> None:
        (operator.folder / "taken").write_text("no database")
        for path in ("taken/documents.db", "taken"):
            result = operator.run("list", STORE=f"sqlite:{operator.folder / path}")
            assert (result.status, result.out) == (1, "")
            assert result.err.startswith("Error: The store's file ")

    def test_a_key_that_is_no_longer_listed_is_explained(self, operator: Operator) -> None:
        operator.tenant()
        for args in (("show", "acme"), ("set", "acme", "omneo_token"), ("delete", "acme")):
            result = operator.run(*args, given="canary-newer", ENCRYPTION_KEYS=f"other:{new_key()}")
            assert (result.status, result.out) == (1, "")
            assert "was written with a key that ENCRYPTION_KEYS no longer lists" in result.err

    def test_every_command_explains_itself(self, operator: Operator) -> None:
        overview = operator.run("--help")
        assert overview.status == 0
        for command in ("create", "list", "show", "set", "rotate", "delete", "reencrypt", "new-key"):
            assert re.search(rf"^  {command} +\w", overview.out, re.MULTILINE)

    def test_what_is_no_command_is_a_usage_error(self, operator: Operator) -> None:
        for args in (("destroy",), ("show",), ("set", "acme"), ("list", "--all")):
            result = operator.run(*args)
            assert (result.status, result.out) == (2, "")
            assert result.err.startswith("Usage: ")

    def test_the_store_holds_nothing_readable_after_all_this(self, operator: Operator) -> None:
        operator.run("create", "acme", given=CREDENTIALS)
        operator.run("set", "acme", "webhook_secret", given="canary-sixteen-1")
        operator.run("rotate", "acme", "--webhook-secret")
        operator.tenants.change(
            "acme", lambda tenant: tenant.model_copy(update={"omneo_token": SecretStr(SIGNING_SECRET)})
        )
        files = list(operator.folder.glob("documents.db*"))
        assert files
        assert not any(b"canary" in path.read_bytes() for path in files)


class TestWithoutAQueue:
    """Last, because giving up takes the queue's client some seconds."""

    def test_tokens_are_stored_and_the_queues_left_to_the_bundle(
        self, without_a_queue: tuple[Operator, dict[str, "subprocess.Popen[bytes]"]]
    ) -> None:
        operator, processes = without_a_queue
        out, err = processes["set"].communicate(timeout=60)
        result = Result(processes["set"].returncode, out.decode(), err.decode())
        assert (result.status, result.out) == (0, "klaviyo_tokens of acme is set.\n")
        assert result.err.endswith(
            "The local queue is not running; it gets the tenant's queues when the bundle starts.\n"
        )
        assert operator.read().klaviyo is not None

    def test_a_tenant_whose_jobs_cannot_be_purged_is_not_deleted(
        self, without_a_queue: tuple[Operator, dict[str, "subprocess.Popen[bytes]"]]
    ) -> None:
        operator, processes = without_a_queue
        out, err = processes["delete"].communicate(timeout=60)
        result = Result(processes["delete"].returncode, out.decode(), err.decode())
        assert (result.status, result.out) == (1, "")
        assert result.err.startswith("Error: The queue could not be purged")
        assert operator.tenants.find("beta") is not None
