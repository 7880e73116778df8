"""Ends child processes if their parent was killed or has crashed. The guard is a process that holds the other end of a
pipe. When the parent is gone for any reason, the pipe closes and the guard ends every process group that is left. It
uses only the standard library, because the guard runs this file alone.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable

_POLL = 0.02


class Guard:
    """The process that ends our children when we no longer can."""

    def __init__(self, grace: float) -> None:
        orders, self._orders = os.pipe()
        # Isolated and without site-packages: it is there in 20 ms and imports nothing of anybody's.
        self._popen = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(grace)],
            stdin=orders,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(orders)

    def watch(self, group: int) -> None:
        """Have this process group ended when we are gone."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """The group has ended, and its number may soon be somebody else's."""
        self._tell(f"-{group}\n")

    def dismiss(self) -> None:
        """End the guard: nothing is left to be ended."""
        os.close(self._orders)
        self._popen.wait()

    def _tell(self, line: str) -> None:
        # One write below PIPE_BUF is atomic, so threads need no lock. Without a guard we go on, only less safely.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._orders, line.encode())


def guard(orders: Iterable[str], grace: float) -> None:
    """Keep account of process groups until `orders` ends, then end those that are left."""
    groups: set[int] = set()
    for order in orders:
        (groups.add if order[0] == "+" else groups.discard)(int(order[1:]))
    for group in groups:
        signal_group(group, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and any(signal_group(group, 0) for group in groups):
        time.sleep(_POLL)
    for group in groups:
        signal_group(group, signal.SIGKILL)


def signal_group(group: int, number: int) -> bool:
    """Return whether the group was there to be signalled."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    guard(sys.stdin, float(sys.argv[1]))
