"""What goes wrong during a run: each kind by chance, one after the other, and how often it really happened.

A kill between an outside call and the note of it waits for the call: the sandbox carries it out and keeps the answer back, and whoever waits
for it is killed.
"""

import os
import random
import resource
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from deploy.local.processes import StartError
from deploy.local.sandbox.stage.faults import KINDS
from deploy.staging import load_functions
from tests.faults.shop import Shop
from tests.support.processes import members

QUEUE = "tasks"
WORKERS = tuple(name for name, function in load_functions().items() if not function.public)
DOORS = tuple(name for name, function in load_functions().items() if function.public and name != "install")
# Where a worker is killed: a call that has taken effect, and whose answer never comes.
POINTS = {
    "POST /api/events": "outbound_worker",
    "POST */rewards": "rewards_webhook",
}
# Whoever is killed here holds the profile, or the outbox, for five minutes.
SLOW_POINTS = {
    "POST /api/data-source-record-*": "outbound_worker",
    "POST /api/profile-import": "outbound_worker",
    "POST /api/profile-subscription-*": "outbound_worker",
    "PUT */attributes/comms": "inbound_worker",
    "POST */interactions": "inbound_worker",
}
_ANSWERED_AFTER = 6.0
_WAITS = 20.0  # a consent waits for its window of ten seconds, and the two after it
_LOCKED = 3.0


class Mischief:
    """Breaks things from `start` until `stop`, about one in `pause` seconds. `fired` counts what really happened, by its name."""

    def __init__(self, shop: Shop, seed: int, pause: float, *, quick: bool) -> None:
        self.fired: Counter[str] = Counter()
        self._shop = shop
        self._chance = random.Random(f"{seed} mischief")
        self._pause = pause
        self._points = POINTS | ({} if quick else SLOW_POINTS)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mischief")
        self._ways: dict[str, Callable[[], bool]] = {
            **{f"answer {kind}": partial(self._fault, kind) for kind in KINDS},
            "answer lost": self._lost,
            **{f"kill {name}": partial(self._kill, name) for name in (*WORKERS, *DOORS, QUEUE)},
            **{f"kill after {point}": partial(self._kill_after, point) for point in self._points},
            "store locked": self._lock_store,
            "queue away": self._stop_queue,
            "disk full": self._fill_disk,
        }

    @property
    def kinds(self) -> list[str]:
        """Everything that can go wrong."""
        return list(self._ways)

    def start(self) -> None:
        """Begin to break."""
        self._thread.start()

    def goes_on(self, least: float, *, most: float) -> None:
        """Return after `least` seconds and once each kind has happened, or after `most` seconds."""
        began = time.monotonic()
        while (passed := time.monotonic() - began) < most:
            if passed >= least and all(self.fired[name] for name in self._ways):
                return
            time.sleep(0.1)

    def stop(self) -> None:
        """Break nothing more, and mend what the services were told to do wrong."""
        self._over.set()
        self._thread.join()
        self._shop.sandbox.klaviyo.faults.clear()
        self._shop.sandbox.omneo.faults.clear()

    def _run(self) -> None:
        while not self._over.is_set():
            # What has happened least comes first, so that each kind happens in a short run too.
            for name in sorted(self._ways, key=lambda name: (self.fired[name], self._chance.random())):
                if self._over.wait(self._pause * (0.5 + self._chance.random())):
                    return
                with suppress(StartError, ProcessLookupError):  # it is being started again
                    self.fired[name] += self._ways[name]()

    def _sides(self) -> list[Callable[..., None]]:
        return [self._shop.sandbox.klaviyo.fail, self._shop.sandbox.omneo.fail]

    def _fault(self, kind: str) -> bool:
        status = self._chance.choice((429, 500, 502, 503, 504, 404, 400))
        body = (
            None if status in {429, 500, 503} else b"<html>an edge</html>"
        )  # only the API's own JSON is a verdict
        times = self._chance.randint(1, 3)
        seconds = 1.0 if kind in {"slow", "drip"} else 2.0
        self._chance.choice(self._sides())(times, kind=kind, status=status, body=body, seconds=seconds)
        return True

    def _lost(self) -> bool:
        self._chance.choice(self._sides())(1, kind="reset", takes_effect=True)
        return True

    def _kill(self, name: str) -> bool:
        os.killpg(self._shop.bundle.pid(name), signal.SIGKILL)
        return True

    def _kill_after(self, point: str) -> bool:
        """Let a call take effect and its caller die before it hears so. False if nobody made such a call meanwhile."""
        side = self._shop.sandbox.klaviyo if "/api/" in point else self._shop.sandbox.omneo
        side.fail(1, match=point, kind="hang", seconds=_ANSWERED_AFTER, takes_effect=True)
        until = time.monotonic() + _WAITS
        while any(fault.match == point for fault in side.faults.ordered()):
            if time.monotonic() > until or self._over.wait(0.02):
                side.faults.clear()
                return False
        time.sleep(0.1)  # it has taken effect by then
        return self._kill(self._points[point])

    def _lock_store(self) -> bool:
        with closing(sqlite3.connect(self._store, timeout=10, isolation_level=None)) as store:
            store.execute("BEGIN EXCLUSIVE")
            self._over.wait(_LOCKED)
            store.execute("ROLLBACK")
        return True

    def _stop_queue(self) -> bool:
        group = self._shop.bundle.pid(QUEUE)
        os.killpg(group, signal.SIGSTOP)
        self._over.wait(_LOCKED)
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGCONT)
        return True

    def _fill_disk(self) -> bool:
        """Let no file of a function grow any more, for a while: what a full disk looks like from inside."""
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._limit_files(1, most)
        self._over.wait(_LOCKED)
        self._limit_files(most, most)  # also what a launcher has started meanwhile
        return True

    def _limit_files(self, soft: int, hard: int) -> None:
        for pid in [pid for name in (*WORKERS, *DOORS) for pid in members(self._shop.bundle.pid(name))]:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))

    @property
    def _store(self) -> Path:
        return Path(self._shop.bundle.environment["STORE"].removeprefix("sqlite:"))
