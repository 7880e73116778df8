"""Loopback ports on which nothing listens, and which no other process of ours takes before the caller binds them.
Another process may take a free port a moment later: the tests of one run are several processes, and each looks for
ports for its children. So a process claims a block of ports and gives out only ports of that block. The claim is a mark
that all processes see, and it ends with its process.
"""

import contextlib
import random
import socket
import threading

from deploy.local.processes import StartError

# They lie below the ports the system hands to outgoing connections (32768 and up): a child's port stays its own while it is being started
# again.
_FIRST, _END, _BLOCK = 20_000, 32_000, 100


class Ports:
    """The blocks that one process has claimed. Each port is given out once. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: list[int] = []

    def take(self, count: int) -> list[int]:
        """Return so many ports, all different, that nothing listens on, in their order unless a block ends among them.

        Raises:
            StartError: all are claimed.
        """
        ports: list[int] = []
        with self._lock:
            while len(ports) < count:
                self._left = self._left or _claimed_block()
                port = self._left.pop(0)
                with contextlib.suppress(OSError), socket.socket() as candidate:
                    candidate.bind(("127.0.0.1", port))
                    ports.append(port)
        return ports


def _claimed_block() -> list[int]:
    """Return the ports of a block that nobody has claimed, claimed for as long as this process lives.

    The mark is a UDP port with the number of the block's first: nothing else uses it, and the system takes it away however we end.
    """
    blocks = list(range(_FIRST, _END, _BLOCK))
    random.shuffle(blocks)
    for first in blocks:
        mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            mark.bind(("127.0.0.1", first))
        except OSError:
            mark.close()
            continue
        mark.detach()  # open until this process ends
        return list(range(first, first + _BLOCK))
    raise StartError(f"every port from {_FIRST} to {_END - 1} is claimed by another process")


_ours = Ports()


def free_ports(count: int) -> list[int]:
    """Return so many loopback ports, all different, that nothing listens on and that are given to nobody else while we live.

    Raises:
        StartError: all are claimed.
    """
    return _ours.take(count)


def free_port() -> int:
    """Return a loopback port that nothing listens on and that is given to nobody else while we live.

    Raises:
        StartError: all are claimed.
    """
    return free_ports(1)[0]
