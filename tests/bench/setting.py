"""The setting of a measured function: queue emulator, sandbox, stores, and one installed tenant."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pydantic import SecretStr

from deploy.local.parts import complete_environment
from deploy.staging import REPOSITORY, load_functions
from shared.direction import Direction
from shared.services import Services
from shared.settings import Needs, Settings
from shared.storage.encryption import new_key
from shared.tenants.tenants import KlaviyoConnection, Tenant
from tests.bench.measures import Note
from tests.bench.servers import BenchmarkError
from tests.bench.wire import request_bytes
from tests.support import firestore_emulator
from tests.support.world import ACCOUNT, EMAIL, TENANT, WEBHOOK_SECRET, a_tenant

EMBEDDED, FIRESTORE = "the embedded store", "Firestore"
# As a target's template would give them.
_ENDING = 120.0  # seconds that a server may take to end, on a busy machine
_PROPERTIES = {
    "reward": "Birthday reward", "amount": 20, "currency": "AUD", "expires_at": "2027-01-31 23:59:59",
    "balance": 145.5, "tier": "Gold", "store": "Fitzroy", "channel": "online",
}  # fmt: skip


def an_event(profile: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a metric call, about the profile with this id or these attributes."""
    return {
        "type": "event",
        "attributes": {
            "metric": {"data": {"type": "metric", "attributes": {"name": "Reward Issued"}}},
            "profile": {"data": {"type": "profile", **profile}},
            "properties": _PROPERTIES,
        },
    }


METRIC_CALL = request_bytes(
    f"/{TENANT}/api/v1/targets/klaviyo/metric",
    {"x-omneo-secret": WEBHOOK_SECRET},
    an_event({"attributes": {"email": EMAIL}}),
)


@contextmanager
def addresses_of(module: str, *options: str) -> Iterator[dict[str, str]]:
    """Run one of our local services as a process; yield the addresses that it prints as its first line."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *options],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise BenchmarkError(f"{module} did not start")
        yield json.loads(line)
    finally:
        process.terminate()
        process.communicate(timeout=_ENDING)


@contextmanager
def queue_emulator(folder: Path) -> Iterator[int]:
    """Run the queue emulator as a process; yield its gRPC port."""
    folder.mkdir(parents=True)
    database = str(folder / "tasks.db")
    with addresses_of("deploy.local.tasks", "--database", database, "--port", "0") as addresses:
        yield int(addresses["grpc"].rpartition(":")[2])


def environment_with_tenant(
    folder: Path, tasks_port: int, *, function: str = "targets", **changes: str
) -> dict[str, str]:
    """Return the environment that deployment gives a function, after storing one installed tenant there.

    Its queues exist and are paused: the benchmark measures the handing over of tasks, not their work.
    """
    workers = {name: "http://127.0.0.1:9" for name, row in load_functions().items() if not row.public}
    given = {"ENCRYPTION_KEYS": f"k1:{new_key()}", **changes}
    everything = complete_environment(given, folder, workers, tasks_port=tasks_port)
    _store_tenant(everything)
    wanted = (*load_functions()[function].variables, "CLOUD_TASKS_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST")
    return {name: everything[name] for name in wanted if name in everything}


def environments_by_store(
    folder: Path, tasks_port: int, running: ExitStack, *, function: str = "targets"
) -> tuple[dict[str, dict[str, str]], list[Note]]:
    """Return such an environment for each store on this machine, and the reason if one is missing.

    The emulator of Firestore runs until `running` is closed.
    """
    embedded = environment_with_tenant(folder / "sqlite", tasks_port, function=function)
    try:
        firestore = running.enter_context(firestore_emulator.running(folder / "firestore.log"))
    except firestore_emulator.MissingProgramError as error:
        return {EMBEDDED: embedded}, [Note(f"skipped with Firestore's client: {error}")]
    cloud = environment_with_tenant(
        folder / "cloud",
        tasks_port,
        function=function,
        STORE="firestore",
        GOOGLE_CLOUD_PROJECT="bench",
        FIRESTORE_EMULATOR_HOST=firestore.host,
    )
    return {EMBEDDED: embedded, FIRESTORE: cloud}, []


def a_connected_tenant(access_token: str, *, refresh_token: str = "") -> Tenant:
    """Return a tenant with a Klaviyo token that works for an hour; a benchmark that takes longer needs the sandbox's refresh token."""
    now = datetime.now(UTC)
    connection = KlaviyoConnection(
        access_token=SecretStr(access_token),
        refresh_token=SecretStr(refresh_token or "unused"),
        expires_at=now + timedelta(hours=1),
        connected_at=now,
    )
    return a_tenant(TENANT, now, klaviyo=connection, klaviyo_account_id=ACCOUNT)


def _store_tenant(environment: Mapping[str, str]) -> None:
    # Google's library reads the emulator's address from the process itself.
    with patch.dict(os.environ, environment):
        services = Services(Settings.from_env(environment, Needs.STORE | Needs.QUEUES))
        tenant = a_connected_tenant("unused")
        services.tenants.create(tenant)
        services.queue.ensure(tenant)
        for direction in Direction:
            services.queue.pause(tenant, direction)
