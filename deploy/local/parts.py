"""The processes of a bundle: the command of each, and the variables that it gets."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.local.processes import Process, StartError, listening
from deploy.staging import Function

_QUEUE = "tasks"
# Never set in the cloud, so functions.yaml does not list them.
_LOCAL_ONLY = ("CLOUD_TASKS_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST")


def complete_environment(
    given: Mapping[str, str], data_dir: Path, workers: Mapping[str, str], *, tasks_port: int | None
) -> dict[str, str]:
    """Return `given` with the values of this machine, and defaults for values that only the cloud needs. Workers and a
    local queue have their own ports. A SQLite store has an absolute path, because each function has its own working
    directory. Without a local queue (`tasks_port` None) given worker URLs stay.
    """
    own = {f"{name.upper()}_URL": url for name, url in workers.items()}
    completed = {
        "TASKS_SERVICE_ACCOUNT": "tasks@local.invalid",
        "GOOGLE_CLOUD_PROJECT": "local",
        "GOOGLE_CLOUD_REGION": "local",
        "STORE": f"sqlite:{data_dir / 'documents.db'}",
        **own,
        **{name: value for name, value in given.items() if value},
    }
    if tasks_port is not None:
        local = {"QUEUE": "local", "CLOUD_TASKS_EMULATOR_HOST": f"127.0.0.1:{tasks_port}"}
        completed.update({**own, **local})
    kind, _, path = completed["STORE"].partition(":")
    if kind == "sqlite":
        completed["STORE"] = f"sqlite:{Path(path).absolute()}"
    return completed


def function_process(
    function: Function, port: int, environment: Mapping[str, str], staged: Path, logs: Path
) -> Process:
    """Return the process of a function that is staged: it gets its share of the bundle's environment."""
    launcher = ("--target", function.entry_point, "--source", "main.py", "--host", "127.0.0.1")
    wanted = (*function.variables, *_LOCAL_ONLY)
    return Process(
        name=function.name,
        argv=(_launcher(), *launcher, "--port", str(port)),
        env={
            **{name: environment[name] for name in wanted if name in environment},
            "THREADS": str(function.concurrency),
            "PORT": str(port),
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONUNBUFFERED": "1",
        },
        cwd=staged,
        log=logs / f"{function.name}.log",
        ready=listening(port),
    )


def queue_process(database: Path, grpc: int, http: int, repository: Path, logs: Path) -> Process:
    """Return the process of the queue emulator, with its two ports."""
    options = ("--database", str(database), "--port", str(grpc), "--http-port", str(http))
    return Process(
        name=_QUEUE,
        argv=(sys.executable, "-m", "deploy.local.tasks", *options),
        env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONUNBUFFERED": "1"},
        cwd=repository,
        log=logs / f"{_QUEUE}.log",
        ready=_addresses_printed,
    )


def _launcher() -> str:
    """Return the functions-framework program of this Python, which Google's runtime starts functions with."""
    beside = Path(sys.executable).with_name("functions-framework")
    found = str(beside) if beside.exists() else shutil.which("functions-framework")
    if found is None:
        raise StartError("functions-framework is not installed; run make setup")
    return found


def _addresses_printed(output: str) -> bool:
    """Return whether the queue emulator has said, in a line of JSON, where it listens."""
    first = next((line for line in output.splitlines() if line.startswith("{")), "null")
    try:
        return "grpc" in (json.loads(first) or {})
    except ValueError:
        return False  # the line is still being written
