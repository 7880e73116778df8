"""Cold starts: from the start of the process to its listening socket, and to the first call that it has done."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests import firestore_emulator
from tests.bench import roots
from tests.bench.measures import Aim, Finding, Note, Ratio, Spread
from tests.bench.roots import Root
from tests.bench.servers import server
from tests.bench.setting import METRIC_CALL, environment_with_tenant, queue_emulator

_LISTENING_ROUNDS = 15
_ANSWER_ROUNDS = 11
_AS_BUILT = Note("source roots hold .pyc files, as Google's buildpack leaves them")


def listening() -> Iterator[Finding]:
    """`targets` against hello-world, from process start to accepting connections."""
    with tempfile.TemporaryDirectory() as place, queue_emulator(Path(place) / "queue") as tasks_port:
        folder = Path(place)
        environment = environment_with_tenant(folder, tasks_port)
        rows = {"hello": roots.hello(folder / "hello"), "targets": roots.targets(folder / "targets")}
        seconds: dict[str, list[float]] = {name: [] for name in rows}
        for round_ in range(_LISTENING_ROUNDS + 1):  # the first warms the disk's cache
            for name, root in rows.items():
                with server(root, environment) as started:
                    took = started.seconds_to_listening()
                if round_:
                    seconds[name].append(took)
    yield _AS_BUILT
    yield Ratio(
        "process start to listening, over hello-world",
        Spread.of(seconds["targets"], "s"),
        Spread.of(seconds["hello"], "s"),
        Aim("<=", 1.5),
    )


def first_answer() -> Iterator[Finding]:
    """`targets` against hello-world, from process start to the first call answered."""
    yield _AS_BUILT
    with tempfile.TemporaryDirectory() as place, ExitStack() as running:
        folder = Path(place)
        tasks_port = running.enter_context(queue_emulator(folder / "queue"))
        embedded = environment_with_tenant(folder / "sqlite", tasks_port)
        hello, targets = roots.hello(folder / "hello"), roots.targets(folder / "targets")
        rows = {"hello": (hello, embedded, 200), "the embedded store": (targets, embedded, 202)}
        try:
            firestore = running.enter_context(firestore_emulator.running(folder / "firestore.log"))
        except firestore_emulator.MissingProgramError as error:
            yield Note(f"skipped with Firestore's client: {error}")
        else:
            cloud = {"STORE": "firestore", "GOOGLE_CLOUD_PROJECT": "bench"}
            cloud["FIRESTORE_EMULATOR_HOST"] = firestore.host
            rows["Firestore"] = targets, environment_with_tenant(folder / "cloud", tasks_port, **cloud), 202
        seconds = _seconds_to_answer(rows)
    hello_seconds = Spread.of(seconds.pop("hello"), "s")
    aims = {"the embedded store": 2.0, "Firestore": 3.0}
    for name, took in seconds.items():
        what = f"process start to 202 with {name}, over 200"
        yield Ratio(what, Spread.of(took, "s"), hello_seconds, Aim("<=", aims[name]))


def _seconds_to_answer(rows: Mapping[str, tuple[Root, Mapping[str, str], int]]) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for round_ in range(_ANSWER_ROUNDS + 1):
        for name, (root, environment, status) in rows.items():
            with server(root, environment) as started:
                took = started.seconds_to_answer(METRIC_CALL, status)
            if round_:
                seconds[name].append(took)
    return seconds
