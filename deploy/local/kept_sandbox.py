"""Keeps a whole sandbox in a file, so that `make run` goes on where it stopped: profiles, consents, events, installs, webhooks.

The file holds the sandbox's objects as they are, and so is only good for the same source of the sandbox; with any other it counts as
missing. Reading the file runs code from it, so only this user may write it.
"""

import hashlib
import io
import itertools
import pickle
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # it has no types

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.omneo.twig import Twig
from deploy.local.sandbox.stage.record import Calls
from deploy.local.sandbox.stage.rounds import Rounds

_SOURCE = Path(__file__).parent / "sandbox"
_SHARE = 50  # at most one part in so many of the time is spent on writing
_PARTS = ("clock", "klaviyo", "omneo")


class CannotRestoreError(Exception):
    """There is nothing to go on from; the message says why."""


class Keeper:
    """Writes a sandbox to `path` every so many seconds, in a thread, from `start` until `stop`, which writes it once more.

    A large one, which calls wait for while it is written, is written less often.
    """

    def __init__(self, sandbox: Sandbox, path: Path, *, every: float = 5.0) -> None:
        self._sandbox = sandbox
        self._path = path
        self._every = every
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin to keep."""
        save(self._sandbox, self._path)
        self._thread.start()

    def stop(self) -> None:
        """Keep its present state, and stop keeping later ones."""
        self._stopping.set()
        self._thread.join()
        save(self._sandbox, self._path)

    def _run(self) -> None:
        pause = self._every
        while not self._stopping.wait(pause):
            began = time.monotonic()
            save(self._sandbox, self._path)
            pause = max(self._every, _SHARE * (time.monotonic() - began))


def save(sandbox: Sandbox, path: Path) -> None:
    """Write all that the sandbox holds, but the calls it was sent; only this user may read it."""
    buffer = io.BytesIO()
    with sandbox.klaviyo._lock, sandbox.omneo._lock:  # nothing changes meanwhile
        _Pickler(buffer).dump({name: getattr(sandbox, name) for name in _PARTS})
    half = path.with_suffix(".half")
    half.touch(mode=0o600)
    half.write_bytes(f"{_fingerprint()}\n".encode() + buffer.getvalue())
    half.replace(path)


def restore(path: Path, sandbox: Sandbox) -> None:
    """Load the file into a sandbox that has not been started.

    Raises:
        CannotRestoreError: there is no such file, or the source of the sandbox was another one then.
    """
    try:
        head, _, rest = path.read_bytes().partition(b"\n")
    except OSError:
        raise CannotRestoreError("nothing was kept") from None
    if head.decode(errors="replace") != _fingerprint():
        raise CannotRestoreError("the sandbox's own source has changed")
    parts = pickle.loads(rest)  # noqa: S301 - our own file, which nobody else may write
    for name in _PARTS:
        setattr(sandbox, name, parts[name])


def _fingerprint() -> str:
    whole = hashlib.sha256()
    for path in sorted(_SOURCE.rglob("*.py")):
        whole.update(path.read_bytes())
    return whole.hexdigest()


def _as_new(value: Any) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
    """Return a function that makes a new object in place of one that cannot be written, None for one that can. Locks
    are free and rounds are off; received calls are not kept, and a template environment has no state.
    """
    match value:
        case Calls():
            return Calls, ()
        case Rounds():
            return Rounds, (value._work,)
        case Twig():
            return Twig, (value._now,)
        case itertools.count():
            return itertools.count, (int(re.findall(r"-?\d+", repr(value))[0]),)
        case _:
            pass
    return _LOCKS.get(type(value))


_LOCKS: dict[type, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    type(threading.RLock()): (threading.RLock, ()),
    type(threading.Lock()): (threading.Lock, ()),
}


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """Writes functions that were made while running too, which the sandbox plans its jobs with."""

    def reducer_override(self, value: Any) -> Any:
        return _as_new(value) or super().reducer_override(value)
