"""`python -m tests.faults.busy [--seconds=] [--tenants=]`: a busy day in minutes. One noisy tenant sends its next event
at each answer, the others send now and then. It prints the time of the quiet tenants' events from their 202 to Klaviyo,
before the noisy tenant begins and beside it. It also prints the functions' memory, threads and open connections. The
exit status is 1 if the quiet tenants' events slow down, or one of these numbers grows.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.staging import load_functions
from tests.faults.shop import Shop, Tenant, opened
from tests.support.processes import members

_PATH = "/targets/klaviyo/metric?metric=Points%20Earned"
_QUIET_PAUSE = 2.0
_NOISY_CALLERS = 4
_WORSE = 4.0  # times what it was, and a second: the noisy one takes its share of two processors
_GROWS = 1.25


@dataclass(frozen=True)
class Held:
    """The resources of a function's processes: memory in MB, threads, open files and connections."""

    memory: float
    threads: int
    files: int


def main() -> int:
    """Run once and print the result."""
    asked = _asked()
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder), asked.tenants) as shop:
        noisy, *quiet = shop.tenants
        alone = _latencies(shop, quiet, [], asked.seconds / 4)
        before = dict(_held(shop))
        beside = _latencies(shop, quiet, [noisy] * _NOISY_CALLERS, asked.seconds * 3 / 8)
        between = dict(_held(shop))
        beside += _latencies(shop, quiet, [noisy] * _NOISY_CALLERS, asked.seconds * 3 / 8)
        after = dict(_held(shop))
        sent = len(shop.sandbox.klaviyo.events(noisy.name))
    print(f"the noisy one sent {sent} events")
    print(f"quiet ones alone: {_said(alone)}; beside it: {_said(beside)}")
    wrong = []
    if _percentile(beside, 0.95) > _WORSE * _percentile(alone, 0.95) + 1.0:
        wrong.append("the quiet ones wait for the noisy one")
    for name, held in after.items():
        print(f"{name:16} {before[name]} {between[name]} {held}")
        wrong += [f"{name}: {what}" for what in _growing(between[name], held)]
    for sentence in wrong:
        print(f"WRONG {sentence}")
    return 1 if wrong else 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.busy")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--tenants", type=int, default=20)
    return parser.parse_args()


def _latencies(shop: Shop, quiet: list[Tenant], noisy: list[Tenant], seconds: float) -> list[float]:
    """Let everybody send for so long, and return the seconds from the 202 of each quiet event to Klaviyo."""
    over = threading.Event()
    accepted: dict[str, tuple[str, float]] = {}
    threads = [
        threading.Thread(target=_send, args=(shop, tenant, pause, over, accepted if pause else {}, number))
        for number, (tenant, pause) in enumerate(
            [*((one, _QUIET_PAUSE) for one in quiet), *((one, 0.0) for one in noisy)]
        )
    ]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    over.set()
    for thread in threads:
        thread.join()
    deadline = time.monotonic() + 60
    while True:
        arrived = {
            event.unique_id: event.received_at
            for tenant in quiet
            for event in shop.sandbox.klaviyo.events(tenant.name)
        }
        if accepted.keys() <= arrived.keys() or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    return [max(0.0, arrived.get(id, at + 60) - at) for id, (_, at) in accepted.items()]


def _send(
    shop: Shop,
    tenant: Tenant,
    pause: float,
    over: threading.Event,
    accepted: dict[str, tuple[str, float]],
    caller: int,
) -> None:
    number = 0
    while not over.wait(pause):
        number += 1
        body = {"profile": {"email": f"canary-{number % 50}@{tenant.name}.example.org"}, "n": number}
        status, answer = shop.post(tenant.name, _PATH, body)
        if status == 202:
            accepted[answer["id"]] = (tenant.name, time.time())


def _held(shop: Shop) -> Iterator[tuple[str, Held]]:
    for name in load_functions():
        pids = members(shop.bundle.pid(name))
        kilobytes = threads = files = 0
        for pid in pids:
            with suppress(OSError):
                status = (Path("/proc") / str(pid) / "status").read_text()
                fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
                kilobytes += int(fields["RssAnon"].split()[0])
                threads += int(fields["Threads"])
                files += len(list((Path("/proc") / str(pid) / "fd").iterdir()))
        yield name, Held(round(kilobytes / 1024, 1), threads, files)


def _growing(before: Held, after: Held) -> Iterator[str]:
    if after.memory > _GROWS * before.memory + 5:
        yield "its memory grows"
    if after.threads > before.threads + 8:
        yield "its threads grow"
    if after.files > before.files + 16:
        yield "its open files grow"


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def _said(values: list[float]) -> str:
    half, most, slowest = (_percentile(values, share) for share in (0.5, 0.95, 1.0))
    return f"{len(values)} events, half within {half:.3f} s, 95 in 100 within {most:.3f} s, the slowest after {slowest:.2f} s"


if __name__ == "__main__":
    sys.exit(main())
