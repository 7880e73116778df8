"""A gcloud that has been started already: the installed gcloud's own code, which each command runs in a fork of one process.

Most of what a gcloud command costs is its start. `python warm_gcloud.py SOCKET`, run by gcloud's own Python, imports gcloud once;
the program that gcloud.py puts on a script's PATH hands over its arguments, variables, folder and open files, and ends as the
fork ends. Nothing of gcloud is replaced. This file runs under gcloud's Python and imports nothing of ours.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
from typing import Any

_LONGEST = 1 << 20  # bytes of arguments and variables


def serve(path: str) -> None:
    """Answer commands on a socket, until the process is ended or whoever started it is gone."""
    main = _gcloud_main()
    parent = os.getppid()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # A command is over before its garbage matters; to look for it, a fork would copy what all forks share.
    gc.freeze()
    gc.disable()
    learned, learn = os.pipe()
    os.set_blocking(learned, False)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(64)
        listening.settimeout(5)
        while os.getppid() == parent:
            with contextlib.suppress(TimeoutError):
                caller, _ = listening.accept()
                _import_what_forks_needed(learned)
                if os.fork() == 0:
                    _run(main, caller, learn)
                caller.close()


def _gcloud_main() -> Any:
    root = os.environ["CLOUDSDK_ROOT_DIR"]
    sys.path[:0] = [f"{root}/lib/third_party", f"{root}/lib"]
    sys.argv = [f"{root}/lib/gcloud.py"]
    return importlib.import_module("googlecloudsdk.gcloud_main").main


def _import_what_forks_needed(learned: int) -> None:
    """Import what earlier commands had to: the next fork finds it there."""
    with contextlib.suppress(BlockingIOError):
        for name in os.read(learned, 1 << 16).decode().splitlines():
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def _run(main: Any, caller: socket.socket, learn: int) -> None:
    """Be the command that the caller asks for."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    caller.settimeout(None)
    said, files, _, _ = socket.recv_fds(caller, _LONGEST, 3)
    asked = json.loads(said)
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.environ.clear()
    os.environ.update(asked["variables"])
    os.chdir(asked["folder"])
    sys.argv[1:] = asked["arguments"]
    before = set(sys.modules)
    status = _status(main)
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    new = [name for name in sys.modules.keys() - before if name.startswith("googlecloudsdk.")]
    os.write(learn, "".join(f"{name}\n" for name in new).encode()[: 1 << 12].rpartition(b"\n")[0] + b"\n")
    with contextlib.suppress(OSError):  # a caller that was ended waits no more
        caller.sendall(b"%d" % status)
    os._exit(0)


def _status(main: Any) -> int:
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:  # noqa: BLE001 - what ends a command ends the fork, and nothing else
        sys.stderr.write(f"{error!r}\n")
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
