"""The port of each part of the bundle, and the message when a port is taken. Nothing is started here."""

import json
import socket
from collections.abc import Mapping
from pathlib import Path

from deploy.local.free_ports import free_ports
from deploy.local.processes import StartError
from deploy.staging import Function

GATEWAY = "the gateway"
KLAVIYO = "the sandbox Klaviyo"
OMNEO = "the sandbox Omneo"
QUEUE = "the queue"
QUEUE_RECORD = "the record of the queue"
CLOUD_TASKS = "CLOUD_TASKS_EMULATOR_HOST"
_FIRST = (GATEWAY, KLAVIYO, OMNEO, QUEUE, QUEUE_RECORD)


def planned(first: int, functions: Mapping[str, Function]) -> dict[str, int]:
    """Return a port for each part, one after the other from `first` on: the gateway, the sandbox, the queue, workers, public functions.

    With `first` 0 each gets a free one, and the gateway 0.

    Raises:
        StartError: there are not so many ports from `first` on.
    """
    names = [*_FIRST, *sorted(functions, key=lambda name: functions[name].public)]
    if first == 0:
        return dict(zip(names, free_ports(len(names)), strict=True)) | {GATEWAY: 0}
    if first + len(names) - 1 > 65535:
        raise StartError(
            f"PORT must be {65536 - len(names)} or less: {len(names)} ports from it on are used."
        )
    return {name: first + place for place, name in enumerate(names)}


def kept_ports(path: Path) -> dict[str, int]:
    """Return the workers' ports of the last time, none if there was none: tasks that wait carry them in their address."""
    ports: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    return ports


def with_kept(ports: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """Return the ports with those of `before`; a service whose port is among them gets a free one.

    >>> with_kept({"worker": 8085, "admin": 8086}, {"worker": 8090})
    {'worker': 8090, 'admin': 8086}
    """
    moved = [name for name, port in ports.items() if name not in before and port in before.values()]
    return {**ports, **dict(zip(moved, free_ports(len(moved)), strict=True)), **before}


def keep_ports(path: Path, workers: Mapping[str, int]) -> None:
    """Keep the workers' ports for the next time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(workers))


def check_free(ports: Mapping[str, int]) -> None:
    """Check that nobody listens on any of these ports; 0 is always free.

    Raises:
        StartError: names each port that is taken, and the remedy.
    """
    taken = {name: port for name, port in ports.items() if port and not is_free(port)}
    if not taken:
        return
    lines = [f"Port {port}, for {name}, is taken." for name, port in taken.items()]
    look = f"To see what listens there: lsof -nP -iTCP:{next(iter(taken.values()))} -sTCP:LISTEN"
    first = ports.get(GATEWAY, 0)
    other = f"or use other ports: make run PORT={first + 100}" if first else "or name another port"
    raise StartError("\n".join([*lines, look, f"End that (it may be another make run), {other}"]))


def queue_port(named: str | None, planned: int) -> int:
    """Return the port of the queue: the one of CLOUD_TASKS_EMULATOR_HOST, if it is `named`; port 0 there means a free one.

    Raises:
        StartError: the port that was named is taken.
    """
    if not named:
        return planned
    port = int(named.rpartition(":")[2])
    if port == 0:
        return free_ports(1)[0]
    check_free({CLOUD_TASKS: port})
    return port


def is_free(port: int) -> bool:
    """Return whether nobody listens on this loopback port. macOS lets two bind it, so it is called as well."""
    with socket.socket() as caller:
        caller.settimeout(1)
        if caller.connect_ex(("127.0.0.1", port)) == 0:
            return False
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
