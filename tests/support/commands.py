"""Runs the operators' commands and the local queue, each in its own process. The processes are forked from one that has
imported everything. So a command has its own environment, streams and exit status, as from a shell, without the second
for loading Python and Google's libraries. Tests of the interpreter's start use a real `python -m deploy.tenants`.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

_PATIENCE_SECONDS = 120
_processes = get_context("forkserver")
_processes.set_forkserver_preload(
    ["deploy.tenants.commands", "shared.jobs.cloud_tasks", "google.cloud.tasks_v2"]
)


@dataclass(frozen=True)
class Done:
    """The result of a command. `acts` are the log lines that report an act; `err` is standard error without them."""

    status: int
    out: str
    err: str
    acts: tuple[str, ...] = field(default=(), compare=False)


def run_command(*words: str, environment: Mapping[str, str], given: str = "") -> Done:
    """Run `python -m deploy.tenants` with these words and this standard input, and wait for its end."""
    return _run(_tenants, words, environment, given)


def run_queue(*words: str) -> Done:
    """Run `python -m deploy.local.tasks` with these words, which it refuses, and wait for its end."""
    return _run(_queue, words, os.environ, "")


def _run(
    program: Callable[[tuple[str, ...]], None],
    words: tuple[str, ...],
    environment: Mapping[str, str],
    given: str,
) -> Done:
    with TemporaryDirectory(prefix="command-") as folder:
        streams = [Path(folder) / name for name in ("stdin", "stdout", "stderr")]
        for stream, text in zip(streams, (given, "", ""), strict=True):
            stream.write_text(text)
        process = _processes.Process(
            target=_in_a_fork, args=(program, words, dict(environment), [str(s) for s in streams])
        )
        process.start()
        process.join(_PATIENCE_SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"{words[0]} runs for more than {_PATIENCE_SECONDS} seconds")
        err, acts = without_acts(streams[2].read_text())
        return Done(process.exitcode, streams[1].read_text(), err, acts)


def without_acts(err: str) -> tuple[str, tuple[str, ...]]:
    """Return a command's standard error without the lines that report an act, and those acts."""
    lines = err.splitlines(keepends=True)
    told = [line for line in lines if line.startswith("{") and '"kind": "audit"' in line]
    return "".join(line for line in lines if line not in told), tuple(
        json.loads(line)["act"] for line in told
    )


def _in_a_fork(
    program: Callable[[tuple[str, ...]], None],
    words: tuple[str, ...],
    environment: dict[str, str],
    streams: list[str],
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for number, (stream, mode) in enumerate(zip(streams, ("r", "w", "w"), strict=True)):
        opened = Path(stream).open(mode)  # noqa: SIM115 - open until the process ends
        os.dup2(opened.fileno(), number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - the same
    program(words)


def _tenants(words: tuple[str, ...]) -> None:
    from deploy.tenants.commands import tenants

    tenants(args=words, prog_name="python -m deploy.tenants")


def _queue(words: tuple[str, ...]) -> None:
    from deploy.local.tasks.__main__ import main

    sys.argv[1:] = words
    sys.exit(main())
