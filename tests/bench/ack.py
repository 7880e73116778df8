"""How long Klaviyo waits until a delivery is acknowledged. It waits five seconds, and disables a webhook that keeps failing."""

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import roots
from tests.bench.cold import AS_BUILT, Start, seconds_to_answer
from tests.bench.deliveries import a_delivery
from tests.bench.measures import Aim, Count, Finding, Note, Ratio, Spread
from tests.bench.servers import Server, server
from tests.bench.setting import EMBEDDED, environment_with_tenant, environments_by_store, queue_emulator

_HELLO, _OURS, _FAR = "hello-world", "system_webhooks", "system_webhooks, far queue"
_STATUS = {_HELLO: 200, _OURS: 202, _FAR: 202}
_SIZES = (1, 1000)
_WARM_ROUNDS = {1: 60, 1000: 15}
_COLD_ROUNDS = 5
_WARM_AIM = Aim("<=", 1.0)
_COLD_AIM = Aim("<=", 2.5)  # half of Klaviyo's patience


def warm() -> Iterator[Finding]:
    """The deployed `system_webhooks` against hello-world, which gets the same deliveries; both have answered before."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as running:
        folder = Path(place)
        tasks_port = running.enter_context(queue_emulator(folder / "queue"))
        environment = environment_with_tenant(folder, tasks_port, function="system_webhooks")
        places = {
            _HELLO: roots.hello(folder / "hello"),
            _OURS: roots.system_webhooks(folder / "ours"),
            _FAR: roots.system_webhooks_far(folder / "far"),
        }
        servers = {name: running.enter_context(server(root, environment)) for name, root in places.items()}
        yield _sizes()
        for events in _SIZES:
            milliseconds = _milliseconds(servers, events)
            hello = Spread.of(milliseconds.pop(_HELLO), "ms")
            for name, took in milliseconds.items():
                ours = Spread.of(took, "ms")
                yield Ratio(f"{_of(events)}, {name}", ours, hello)
                yield Count(f"  seconds, {_of(events)}, {name}", ours.median / 1000, _WARM_AIM)


def cold() -> Iterator[Finding]:
    """The same from the start of the process to the first answer."""
    yield AS_BUILT
    with tempfile.TemporaryDirectory() as place, ExitStack() as running:
        folder = Path(place)
        tasks_port = running.enter_context(queue_emulator(folder / "queue"))
        environments, missing = environments_by_store(folder, tasks_port, running, function="system_webhooks")
        yield from missing
        hello, ours = roots.hello(folder / "hello"), roots.system_webhooks(folder / "ours")
        for events in _SIZES:
            request = a_delivery(events, datetime.now(UTC))
            starts = {_HELLO: Start(hello, environments[EMBEDDED], request, _STATUS[_HELLO])}
            for store, environment in environments.items():
                starts[store] = Start(ours, environment, request, _STATUS[_OURS])
            yield from _cold_findings(events, seconds_to_answer(starts, _COLD_ROUNDS))


def _milliseconds(servers: Mapping[str, Server], events: int) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in servers}
    for round_ in range(_WARM_ROUNDS[events] + 1):  # the first makes the connections to store and queue
        request = a_delivery(events, datetime.now(UTC))
        for name, started in servers.items():
            began = time.perf_counter()
            started.call(request, _STATUS[name])
            if round_:
                took[name].append((time.perf_counter() - began) * 1000)
    return took


def _cold_findings(events: int, seconds: dict[str, list[float]]) -> Iterator[Finding]:
    hello = Spread.of(seconds.pop(_HELLO), "s")
    for store, took in seconds.items():
        ours = Spread.of(took, "s")
        yield Ratio(f"process start to 202, {_of(events)}, {store}", ours, hello)
        yield Count(f"  seconds, {_of(events)}, {store}", ours.median, _COLD_AIM)


def _of(events: int) -> str:
    return "1 event" if events == 1 else f"{events:,} events"


def _sizes() -> Note:
    now = datetime.now(UTC)
    sizes = (f"{_of(events)} of {len(a_delivery(events, now)) / 1000:,.1f} KB" for events in _SIZES)
    return Note(
        f"deliveries, signed: {', '.join(sizes)}; the store is SQLite, the queue its emulator, a far one takes 50 ms a task"
    )
