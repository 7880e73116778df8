"""What every function holds in memory at its worst: as many calls at once as it serves, each with the largest body that it takes.

The worst body is the one whose JSON becomes the most values, or for a webhook a delivery of as many events as fit.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from deploy.staging import Function, load_functions
from shared.web.json_bodies import MOST_VALUES
from tests.bench import roots
from tests.bench.deliveries import a_delivery
from tests.bench.measures import Aim, Count, Finding, Note
from tests.bench.servers import server
from tests.bench.setting import environment_with_tenant, queue_emulator
from tests.bench.wire import request_bytes
from tests.support.world import TENANT, WEBHOOK_SECRET

_DELIVERY_LARGEST = 24_000_000
_TASK_LARGEST = 2**20  # what Cloud Tasks takes
_GIVEN = {
    "EXTENSION_URL": "https://e.example.com",
    "KLAVIYO_CLIENT_ID": "bench",
    "KLAVIYO_CLIENT_SECRET": "bench",
}
_ROUNDS = 3  # what a call leaves behind in the process counts too
_SHARE = 0.8  # of the limit: what Firestore's client and a busy hour take comes on top
# The path and the largest body of each function beside the webhook, which gets deliveries.
_CALLS = {
    "targets": (f"/{TENANT}/api/v1/targets/klaviyo/metric", 1_000_000),
    "omneo_webhooks": (f"/{TENANT}/api/v1/webhooks/omneo", 1_000_000),
    "rewards_webhook": (f"/{TENANT}/api/v1/webhooks/klaviyo/rewards", 1_000_000),
    "install": ("/klaviyo/install", 200_000),
    "admin": (f"/{TENANT}/api/v1/settings", 200_000),
    "inbound_worker": ("/tasks/inbound", _TASK_LARGEST),
    "outbound_worker": ("/tasks/outbound", _TASK_LARGEST),
}


def memory() -> Iterator[Finding]:
    """The most memory of each function at its deployed concurrency under the largest bodies, against its limit in functions.yaml."""
    yield Note(
        "the store is SQLite: Firestore's client holds some 40 MiB more; the limit is that of one instance"
    )
    with tempfile.TemporaryDirectory() as place, queue_emulator(Path(place) / "queue") as tasks_port:
        for function in load_functions().values():
            folder = Path(place) / function.name
            environment = environment_with_tenant(
                folder / "data", tasks_port, function=function.name, **_GIVEN
            )
            yield _measured(function, folder / "source", environment)


def _measured(function: Function, folder: Path, environment: Mapping[str, str]) -> Finding:
    request = _worst_request(function.name)
    root = roots.deployed(function.name, folder)
    with (
        server(root, environment, threads=function.concurrency) as started,
        ThreadPoolExecutor(function.concurrency) as callers,
    ):
        for _ in range(_ROUNDS):
            statuses = set(callers.map(started.answered, [request] * function.concurrency))
        most = started.most_memory() / 2**20
    limit = _mebibytes(function.memory)
    size = f"{len(request) / 1e6:.1f} MB"
    what = f"{function.name}, {function.concurrency} at once of {size}: MiB"
    return Count(what, most, Aim("<=", limit * _SHARE), f"of {limit} MiB; answered {min(statuses)}")


def _worst_request(function: str) -> bytes:
    now = datetime.now(UTC)
    if function not in _CALLS:
        one = len(a_delivery(1001, now)) - len(a_delivery(1000, now))
        return a_delivery(_DELIVERY_LARGEST // one, now)
    path, largest = _CALLS[function]
    values = min(
        largest // 3 - 100, MOST_VALUES - 100
    )  # such as "[1,[],1,[]]": each costs far more than it is written in
    body = json.dumps({"data": [[]] * values}, separators=(",", ":"))
    return request_bytes(path, {"x-omneo-secret": WEBHOOK_SECRET}, body.encode())


def _mebibytes(text: str) -> int:
    """Return a limit as functions.yaml writes it.

    >>> _mebibytes("512Mi"), _mebibytes("1Gi")
    (512, 1024)
    """
    return int(text[:-2]) * (1024 if text.endswith("Gi") else 1)
