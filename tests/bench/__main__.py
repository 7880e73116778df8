"""`python -m tests.bench [NAME]`: run every benchmark, or one, and print the results. It prints a missed aim, but does
not fail on it: the exit status only shows whether everything could be measured.
"""

import sys
import time
from collections.abc import Callable, Iterator

from tests.bench import (
    ack,
    backlog,
    cold,
    events,
    imports,
    inbound,
    lanes,
    machine,
    memory,
    records,
    resync,
    syncs,
    throughput,
    waiting_syncs,
)
from tests.bench.measures import Finding
from tests.bench.servers import BenchmarkError

BENCHMARKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "cold-listening": cold.listening,
    "cold-first-202": cold.first_answer,
    "throughput": throughput.throughput,
    "worker-imports": imports.worker_imports,
    "worker-event": events.worker_event,
    "inbound-calls": inbound.inbound_calls,
    "ack-warm": ack.warm,
    "ack-cold": ack.cold,
    "records-backlog": records.records_backlog,
    "events-backlog": backlog.events_backlog,
    "sync-calls": syncs.sync_calls,
    "lanes": lanes.lanes,
    "syncs-backlog": waiting_syncs.syncs_backlog,
    "resync": resync.resync,
    "memory": memory.memory,
}


def main() -> int:
    """Run the benchmarks of the command line; return 1 if something could not be measured."""
    names = sys.argv[1:] or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        print(f"There is no benchmark {unknown[0]}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    began = time.monotonic()
    print(
        f"{machine.description()}\nRatios of medians; in brackets least..most of the repetitions.", flush=True
    )
    failures = [name for name in names if not _completes(name)]
    print(f"\n{time.monotonic() - began:.0f} s")
    return 1 if failures else 0


def _completes(name: str) -> bool:
    """Run one benchmark and print its findings as they come."""
    print(f"\n{name}: {BENCHMARKS[name].__doc__}", flush=True)
    try:
        for finding in BENCHMARKS[name]():
            print(finding, flush=True)
    except BenchmarkError as error:
        print(f"  could not be measured: {error}", flush=True)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
