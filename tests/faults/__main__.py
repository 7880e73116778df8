"""`python -m tests.faults [--seconds=] [--tenants=] [--seed=]`: break, heal, count. The exit status is 1 for a broken promise or a fault that never fired."""

import argparse
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.faults.counting import broken_promises
from tests.faults.mischief import Mischief
from tests.faults.people import Callers
from tests.faults.shop import Shop, opened
from tests.support.world import WORKER_ANSWERS, told_to_the_queue

_HEALING = 900.0  # seconds at most until nothing waits any more
_QUIET = 3.0
_ALL_HAPPEN_WITHIN = 180.0  # seconds, also of a run that is to be shorter: the kinds come one after the other


def main() -> int:
    """Run once and say what came of it."""
    asked = _asked()
    over = threading.Event()
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder), asked.tenants) as shop:
        callers = [
            Callers(shop, tenant, asked.seed, over, asked.pause, quick=asked.quick) for tenant in shop.tenants
        ]
        mischief = Mischief(shop, asked.seed, asked.breaks_every, quick=asked.quick)
        for one in callers:
            one.start()
        broke = time.monotonic()
        mischief.start()
        mischief.goes_on(asked.seconds, most=max(_ALL_HAPPEN_WITHIN, asked.seconds))
        mischief.stop()
        over.set()
        for one in callers:
            one.join()
        began = time.monotonic()
        rest = _heal(shop, asked.heals)
        print(f"{began - broke:.0f} s of trouble, {time.monotonic() - began:.0f} s until nothing waited")
        wrong = [f"{rest} tasks still wait"] if rest else []
        if told := told_to_the_queue(shop.bundle.tasks_http) - {*WORKER_ANSWERS, None}:
            wrong.append(f"workers answered {sorted(map(str, told))}")
        for tenant, one in zip(shop.tenants, callers, strict=True):
            journal = one.journal
            print(
                f"{tenant.name}: {len(journal.events)} events, {len(journal.rewards)} rewards, {sum(journal.records.values())} records,"
                f" {len(journal.consents)} people decided; refused {dict(journal.refused)}"
            )
            wrong += [f"{tenant.name}: {sentence}" for sentence in broken_promises(shop, tenant, journal)]
            wrong += [f"{tenant.name}: {what} refused" for what in journal.refused]
    for name in mischief.kinds:
        print(f"{mischief.fired[name]:4} {name}")
    wrong += [f"never happened: {name}" for name in mischief.kinds if not mischief.fired[name]]
    for sentence in wrong:
        print(f"WRONG {sentence}")
    return 1 if wrong else 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument(
        "--seconds",
        type=float,
        default=600.0,
        help="how long there is trouble; longer, until each kind has happened",
    )
    parser.add_argument("--tenants", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--pause", type=float, default=0.4, help="seconds between two calls of one caller")
    parser.add_argument("--breaks-every", type=float, default=1.5, help="seconds between two faults")
    parser.add_argument("--heals", type=float, default=_HEALING, help="seconds at most until nothing waits")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="nobody is killed who holds something for minutes, so it heals fast",
    )
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    return asked


def _heal(shop: Shop, most: float) -> int:
    """Wait until nothing waits in the queues, the looks included; return how many tasks are left."""
    deadline = time.monotonic() + most
    quiet_since = 0.0
    while time.monotonic() < deadline:
        for tenant in shop.tenants:
            shop.sandbox.klaviyo.run_jobs()
            shop.sandbox.klaviyo.deliver(tenant.name)
        if shop.depth() == 0:
            quiet_since = quiet_since or time.monotonic()
            if time.monotonic() - quiet_since > _QUIET:
                return 0
        else:
            quiet_since = 0.0
        time.sleep(0.5)
    return shop.depth()


if __name__ == "__main__":
    sys.exit(main())
