"""The memory of every function at its worst: as many calls at once as it serves, each with the largest body that it
accepts. The worst body is the one whose JSON becomes the most values, or for Klaviyo's webhook a delivery of as many
events and bytes as fit. The function accepts all of them, because a refused body takes no memory.
"""

import hashlib
import hmac
import json
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from deploy.staging import Function, load_functions
from shared.web.json_bodies import MOST_OBJECTS, MOST_VALUES
from tests.bench import roots
from tests.bench.deliveries import a_delivery
from tests.bench.measures import Aim, Count, Finding, Note
from tests.bench.servers import BenchmarkError, server
from tests.bench.setting import environment_with_tenant, queue_emulator
from tests.bench.wire import request_bytes
from tests.support.world import EMAIL, INSTALLATION_KEY, SIGNING_SECRET, TENANT, WEBHOOK_SECRET

_DELIVERY_LARGEST = 24_000_000
_TASK_LARGEST = 2**20  # the limit of Cloud Tasks
_GIVEN = {
    "EXTENSION_URL": "https://e.example.com",
    "KLAVIYO_CLIENT_ID": "bench",
    "KLAVIYO_CLIENT_SECRET": "bench",
    "OMNEO_API_URL": "http://127.0.0.1:9/{tenant}",  # nobody answers there
}
_ROUNDS = 3  # the leftovers of a call in the process count too
_SHARE = 0.8  # of the limit: what Firestore's client and a busy hour take comes on top
_NEARLY = 0.95  # of what is taken: a body that is refused before it is read measures nothing
_ITEMS = 4000  # Klaviyo takes no longer list in an event, so a longer one is left out
_SECRET = {"x-omneo-secret": WEBHOOK_SECRET}
_KEY = {"Authorization": f"Bearer {INSTALLATION_KEY}"}


@dataclass(frozen=True)
class Worst:
    """A call at its worst: the largest body, the required fields beside its values, and the status that shows that all of it was read."""

    path: str
    largest: int
    status: int
    body: Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict)
    is_signed: bool = False

    def request(self) -> bytes:
        """Return it, its body filled up with the values that cost most for their bytes: empty lists and fractions."""
        without = len(json.dumps({**self.body, "values": []}))
        lists = min(
            (self.largest - without) // 7, int(MOST_OBJECTS * _NEARLY)
        )  # so that fractions fit beside
        fractions = min((self.largest - without - 3 * lists) // 4, int(MOST_VALUES * _NEARLY) - 2 * lists)
        items: list[object] = [[]] * lists + [9.5] * fractions
        values = [items[first : first + _ITEMS] for first in range(0, len(items), _ITEMS)]
        data = json.dumps({**self.body, "values": values}, separators=(",", ":")).encode()
        signature = hmac.new(SIGNING_SECRET.encode(), data, hashlib.sha256).hexdigest()
        signed = {"X-Omneo-Hmac-SHA256": signature} if self.is_signed else {}
        return request_bytes(self.path, {**self.headers, **signed}, data)


_API = f"/{TENANT}/api/v1"
_REWARD = {
    "id": "",
    "person_id": "",
    "email": EMAIL,
    "data": {"reward_definition_id": 1, "amount": 1},
}
_PROFILE = {"id": "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01"}
# All functions but the webhook, which gets deliveries. An event must fit into a task; of a form, no more than that is
# read.
_CALLS = {
    "targets": Worst(
        f"{_API}/targets/klaviyo/metric?metric=Worst", 860_000, 202, {"profile": {"email": EMAIL}}, _SECRET
    ),
    "omneo_webhooks": Worst(
        f"{_API}/webhooks/omneo", 990_000, 202, _PROFILE, {"X-Omneo-Event": "profile.updated"}, is_signed=True
    ),
    "rewards_webhook": Worst(f"{_API}/webhooks/klaviyo/rewards", 990_000, 503, _REWARD, _SECRET),
    "install": Worst("/klaviyo/install", 16_000, 401, {}),
    "admin": Worst(f"{_API}/resync", 190_000, 400, {}, _KEY),
    "inbound_worker": Worst("/tasks/inbound", _TASK_LARGEST, 200, {}),
    "outbound_worker": Worst("/tasks/outbound", _TASK_LARGEST, 200, {}),
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
    worst = _CALLS.get(function.name)
    request, expected = (worst.request(), worst.status) if worst else (_worst_delivery(), 202)
    root = roots.deployed(function.name, folder)
    with (
        server(root, environment, threads=function.concurrency) as started,
        ThreadPoolExecutor(function.concurrency) as callers,
    ):
        for _ in range(_ROUNDS):
            statuses = set(callers.map(started.answered, [request] * function.concurrency))
            if statuses != {expected}:
                raise BenchmarkError(f"{function.name} answered {statuses}, not {expected}")
        most = started.most_memory() / 2**20
    limit = _mebibytes(function.memory)
    size = f"{len(request) / 1e6:.1f} MB"
    what = f"{function.name}, {function.concurrency} at once of {size}: MiB"
    return Count(what, most, Aim("<=", limit * _SHARE), f"of {limit} MiB; answered {expected}")


def _worst_delivery() -> bytes:
    """Return a delivery of as many values and bytes as are taken. One letter in it needs four bytes, and so does each beside it once read."""
    now = datetime.now(UTC)
    fewer, more = (a_delivery(count, now, text="\U0001f381") for count in (1, 2))
    objects = sum(more.count(bracket) - fewer.count(bracket) for bracket in (b"{", b"["))
    values = objects + more.count(b",") - fewer.count(b",")
    events = int(min(MOST_OBJECTS / objects, MOST_VALUES / values) * _NEARLY)
    text = max(0, int(_DELIVERY_LARGEST / events) - (len(more) - len(fewer)))
    return a_delivery(events, now, text="\U0001f381" + "x" * text)


def _mebibytes(text: str) -> int:
    """Return a limit as functions.yaml writes it.

    >>> _mebibytes("512Mi"), _mebibytes("1Gi")
    (512, 1024)
    """
    return int(text[:-2]) * (1024 if text.endswith("Gi") else 1)
