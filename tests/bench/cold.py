"""Cold starts: from the start of the process to its listening socket, and to the first call that it has done."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench import roots
from tests.bench.measures import Aim, Finding, Note, Ratio, Spread
from tests.bench.roots import Root
from tests.bench.servers import server
from tests.bench.setting import (
    EMBEDDED,
    FIRESTORE,
    METRIC_CALL,
    environment_with_tenant,
    environments_by_store,
    queue_emulator,
)

_LISTENING_ROUNDS = 15
_ANSWER_ROUNDS = 11
AS_BUILT = Note("source roots hold .pyc files, as Google's buildpack leaves them")


def listening() -> Iterator[Finding]:
    """The functions that somebody waits for against hello-world, from process start to accepting connections."""
    with tempfile.TemporaryDirectory() as place, queue_emulator(Path(place) / "queue") as tasks_port:
        folder = Path(place)
        rows = {"hello": roots.hello(folder / "hello"), "targets": roots.targets(folder / "targets")}
        rows["system_webhooks"] = roots.system_webhooks(folder / "system_webhooks")
        environments = {
            name: environment_with_tenant(folder / f"{name}-data", tasks_port, function=name)
            for name in rows
            if name != "hello"
        }
        environments["hello"] = environments["targets"]
        seconds: dict[str, list[float]] = {name: [] for name in rows}
        for round_ in range(_LISTENING_ROUNDS + 1):  # the first warms the disk's cache
            for name, root in rows.items():
                with server(root, environments[name]) as started:
                    took = started.seconds_to_listening()
                if round_:
                    seconds[name].append(took)
    yield AS_BUILT
    hello = Spread.of(seconds.pop("hello"), "s")
    for name, listened in seconds.items():
        what = f"{name}, start to listening, over hello-world"
        yield Ratio(what, Spread.of(listened, "s"), hello, Aim("<=", 1.5))


def first_answer() -> Iterator[Finding]:
    """`targets` against hello-world, from process start to the first call answered."""
    yield AS_BUILT
    with tempfile.TemporaryDirectory() as place, ExitStack() as running:
        folder = Path(place)
        tasks_port = running.enter_context(queue_emulator(folder / "queue"))
        environments, missing = environments_by_store(folder, tasks_port, running)
        yield from missing
        hello, targets = roots.hello(folder / "hello"), roots.targets(folder / "targets")
        rows = {"hello": Start(hello, environments[EMBEDDED], METRIC_CALL, 200)}
        for name, environment in environments.items():
            rows[name] = Start(targets, environment, METRIC_CALL, 202)
        seconds = seconds_to_answer(rows, _ANSWER_ROUNDS)
    hello_seconds = Spread.of(seconds.pop("hello"), "s")
    aims = {EMBEDDED: 2.0, FIRESTORE: 3.0}
    for name, took in seconds.items():
        what = f"process start to 202 with {name}, over 200"
        yield Ratio(what, Spread.of(took, "s"), hello_seconds, Aim("<=", aims[name]))


@dataclass(frozen=True)
class Start:
    """A function to start, and the call that it should answer with `status` as soon as it listens."""

    root: Root
    environment: Mapping[str, str]
    request: bytes
    status: int


def seconds_to_answer(starts: Mapping[str, Start], rounds: int) -> dict[str, list[float]]:
    """Start each in turn, again and again; return the seconds from process start to the whole answer."""
    seconds: dict[str, list[float]] = {name: [] for name in starts}
    for round_ in range(rounds + 1):  # the first warms the disk's cache
        for name, start in starts.items():
            with server(start.root, start.environment) as started:
                took = started.seconds_to_answer(start.request, start.status)
            if round_:
                seconds[name].append(took)
    return seconds
