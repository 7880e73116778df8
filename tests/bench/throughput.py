"""Calls a second and latency under load, one instance, with as many threads as `targets` is deployed with."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from deploy.staging import REPOSITORY
from tests.bench import roots
from tests.bench.load import Order, Result
from tests.bench.measures import Aim, Finding, Note, Ratio, Spread
from tests.bench.servers import THREADS, BenchmarkError, Server, server
from tests.bench.setting import METRIC_CALL, environment_with_tenant, queue_emulator

_CONNECTIONS = (1, 8, 32)
_ROUNDS = 5
_SECONDS = 2.0
_WARM_UP = 0.3
_BASELINE = "hello-world"
_ALONE = "queue in process"
_WHOLE = "queue emulator"
_STATUS = {_BASELINE: "200", _ALONE: "202", _WHOLE: "202"}


def throughput() -> Iterator[Finding]:
    """A metric call against hello-world, which gets the same request."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as running:
        folder = Path(place)
        tasks_port = running.enter_context(queue_emulator(folder / "queue"))
        environment = environment_with_tenant(folder, tasks_port)
        rows = {
            _BASELINE: roots.hello(folder / "hello"),
            _ALONE: roots.targets_alone(folder / "alone"),
            _WHOLE: roots.targets(folder / "whole"),
        }
        servers = {name: running.enter_context(server(root, environment)) for name, root in rows.items()}
        for started in servers.values():
            started.seconds_to_listening()
        yield Note(
            f"THREADS={THREADS}; the load takes a part of the same cores; the emulator does not dispatch"
        )
        for connections in _CONNECTIONS:
            yield from _findings(connections, _rounds(servers, connections))


def _rounds(servers: Mapping[str, Server], connections: int) -> dict[str, list[Result]]:
    results: dict[str, list[Result]] = {name: [] for name in servers}
    for _ in range(_ROUNDS):
        for name, started in servers.items():
            results[name].append(_load(name, started, connections))
    return results


def _findings(connections: int, results: Mapping[str, list[Result]]) -> Iterator[Finding]:
    baseline = results[_BASELINE]
    for name, aim in ((_ALONE, Aim(">=", 0.5)), (_WHOLE, None)):
        ours = results[name]
        yield Ratio(
            f"calls a second, {connections} at once, {name}",
            Spread.of([result.rate for result in ours], "/s"),
            Spread.of([result.rate for result in baseline], "/s"),
            aim,
            note=f"p50 and p99 {_latency(ours)} against {_latency(baseline)} ms",
        )


def _latency(results: list[Result]) -> str:
    p50 = Spread.of([result.p50 for result in results], "ms").median
    p99 = Spread.of([result.p99 for result in results], "ms").median
    return f"{p50:.2f} and {p99:.2f}"


def _load(name: str, started: Server, connections: int) -> Result:
    order = Order(started.port, METRIC_CALL.decode("latin-1"), connections, _WARM_UP, _SECONDS)
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load"],
        cwd=REPOSITORY, input=json.dumps(asdict(order)), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchmarkError(f"the load on {name} broke off:\n{done.stderr[-2000:]}")
    result = Result(**json.loads(done.stdout))
    if set(result.statuses) != {_STATUS[name]}:
        raise BenchmarkError(f"{name} answered {result.statuses}, where only {_STATUS[name]} counts")
    return result
