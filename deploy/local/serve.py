"""`make serve`: the bundle on one machine, with the services that the environment names, until it is stopped."""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from deploy.local.bundle import Bundle
from deploy.local.hints import second_terminal
from deploy.local.parts import complete_environment
from deploy.local.processes import StartError, timestamp
from deploy.staging import REPOSITORY
from shared.errors import ExtensionError
from shared.installation.connecting import prepare_queues
from shared.services import Services
from shared.settings import TASKS, Needs, Settings

_EVERYTHING = Needs.STORE | TASKS | Needs.QUEUES | Needs.KLAVIYO_APP | Needs.PUBLIC_URL
# The environment for another terminal that works on the same tenants. It holds secrets: only this user can read the
# file.
FOR_COMMANDS = (
    "STORE",
    "QUEUE",
    "CLOUD_TASKS_EMULATOR_HOST",
    "GOOGLE_CLOUD_PROJECT",
    "GOOGLE_CLOUD_REGION",
    "TASKS_SERVICE_ACCOUNT",
    "ENCRYPTION_KEYS",
    "INBOUND_WORKER_URL",
    "OUTBOUND_WORKER_URL",
    "EXTENSION_URL",
    "KLAVIYO_API_URL",
    "KLAVIYO_REVISION",
    "KLAVIYO_CLIENT_ID",
    "KLAVIYO_CLIENT_SECRET",
    "OMNEO_API_URL",
)


def serve() -> None:
    """Start the bundle and return when SIGTERM or Ctrl-C has stopped it.

    Raises:
        ConfigurationError: the environment is incomplete; nothing was started.
        StartError: something did not come up; everything has been stopped again.
    """
    folder = data_dir(os.environ)
    check_environment(os.environ, folder)
    stopped = stop_signal()
    env_file = folder / "env"
    with Bundle(folder, port(os.environ), os.environ, echo=echo) as bundle:
        prepare_all_queues(bundle.environment)
        write_environment(env_file, bundle.environment, FOR_COMMANDS)
        say(f"Serving on {bundle.url}. Logs: {bundle.logs}. Data: {folder}.")
        say("For commands in another terminal:")
        say(second_terminal(REPOSITORY, env_file, Path(sys.executable)))
        try:
            stopped.wait()
        finally:
            env_file.unlink(missing_ok=True)  # it holds secrets, and is good only while this runs
        say("Stopping.")


def data_dir(environment: Mapping[str, str]) -> Path:
    """Return the folder of everything that is kept, DATA_DIR or .local."""
    return Path(environment.get("DATA_DIR") or ".local").resolve()


def check_environment(environment: Mapping[str, str], folder: Path) -> None:
    """Check everything the functions will read, before any of them starts.

    Raises:
        ConfigurationError: lists every variable at fault.
    """
    workers = dict.fromkeys(
        ("inbound_worker", "outbound_worker"), "http://127.0.0.1:1"
    )  # ports are not known yet
    local_queue = environment.get("QUEUE") != "cloud-tasks"
    given = {"EXTENSION_URL": "http://127.0.0.1", **environment}  # the bundle is its own public address
    completed = complete_environment(given, folder, workers, tasks_port=1 if local_queue else None)
    Settings.from_env(completed, _EVERYTHING)


def prepare_all_queues(environment: Mapping[str, str]) -> None:
    """Give every installed tenant its queues, in case it was installed while no queue was running."""
    services = Services(Settings.from_env(environment, Needs.STORE | Needs.QUEUES))
    try:
        for name in services.tenants.names():
            tenant = services.tenants.find(name)
            if tenant is not None and tenant.is_connected:
                prepare_queues(tenant, services.queue)
    except ExtensionError as error:
        raise StartError(f"The tenants' queues could not be made: {error}") from error


def write_environment(path: Path, environment: Mapping[str, str], names: Iterable[str]) -> None:
    """Write variables for a shell to read; only this user may."""
    lines = [f"{name}={shlex.quote(environment[name])}\n" for name in names if environment.get(name)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text("".join(lines))


def port(environment: Mapping[str, str]) -> int:
    """Return the port to serve on.

    Raises:
        StartError: PORT is no port.
    """
    text = environment.get("PORT") or "8080"
    if not text.isdecimal() or int(text) > 65535:
        raise StartError("PORT must be a number from 0 to 65535")
    return int(text)


def stop_signal() -> threading.Event:
    """Return an event that SIGTERM and Ctrl-C set."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


def say(line: str) -> None:
    """Tell the operator."""
    print(line, flush=True)


def echo(name: str, line: str) -> None:
    """Show a function's log line, with the time."""
    sys.stderr.write(f"{timestamp(datetime.now(UTC))} {name:<16} {line}\n")
    sys.stderr.flush()
