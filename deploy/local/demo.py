"""`make run`: the bundle with a sandbox Omneo and Klaviyo and a demo tenant, and one event sent from end to end.

The tenant, its keys and all data stay between starts. The event is a new one each time: a reward is issued in Omneo.
The time of each hop comes from the records of the sandbox Omneo, the queue, and the sandbox Klaviyo.
"""

import json
import os
import shlex
import shutil
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.bundle import Bundle
from deploy.local.console import Console
from deploy.local.console.asking import control
from deploy.local.console.console import PATHS, SECONDS
from deploy.local.console.here import Here
from deploy.local.console.watching import Watching
from deploy.local.console.whose import Tenants
from deploy.local.demo_tenant import (
    ACCOUNT,
    EMAIL,
    TENANT,
    TRIGGER,
    Keys,
    customer,
    klaviyo_profile_id,
    let_klaviyo_deliver,
    make_tenant,
)
from deploy.local.exchange import Exchange, Watch
from deploy.local.hints import Place, hints
from deploy.local.kept_sandbox import CannotRestoreError, Keeper, restore
from deploy.local.logs import Follower
from deploy.local.ports import CLOUD_TASKS, GATEWAY, KLAVIYO, OMNEO, QUEUE, check_free, is_free, planned
from deploy.local.processes import StartError
from deploy.local.reload import Reload
from deploy.local.sandbox import Sandbox
from deploy.local.serve import (
    FOR_COMMANDS,
    check_environment,
    data_dir,
    port,
    say,
    stop_signal,
    write_environment,
)
from deploy.staging import REPOSITORY, load_functions

_WAIT_SECONDS = 60.0
_EXCHANGES = 1_000  # kept until a page of the console looks
_LOG_TAIL = 200_000  # bytes of each log that a page reads of what was before it
_BEGIN_ANEW = "`make fresh` lets the next start begin anew."


@dataclass(frozen=True)
class Hop:
    """One step of the event, with its time and its recorder."""

    at: float
    what: str
    seen_by: str


def run() -> None:
    """Start everything, send one event, print its steps, and serve until stopped.

    Raises:
        StartError: something did not come up, or the event did not arrive.
    """
    started = time.time()
    first = port(os.environ)
    folder = _folder(first)
    ports = planned(first, load_functions())
    check_free({name: ports[name] for name in ports if name != QUEUE or not os.environ.get(CLOUD_TASKS)})
    stopped = stop_signal()
    with playing(folder, first, ports) as demo, _kept_and_reloaded(demo.sandbox, demo.bundle, folder):
        hops = _send_one_event(demo.sandbox, demo.bundle)
        _tell(hops, time.time() - started)
        demo.console.start()
        _tell_what_next(demo.place, demo.bundle)
        stopped.wait()
        say("Stopping.")


@dataclass(frozen=True)
class Demo:
    """The running parts: both services, the bundle with its tenant, and the console, which is told of `exchanges` by the gateway."""

    sandbox: Sandbox
    bundle: Bundle
    place: Place
    console: Console
    exchanges: "deque[Exchange]"


@contextmanager
def playing(folder: Path, first: int, ports: Mapping[str, int]) -> Iterator[Demo]:
    """Start everything that `make run` shows, on these ports, with the data in `folder`; stop it in the end.

    Raises:
        StartError: something did not come up.
    """
    sandbox = Sandbox(klaviyo_port=ports[KLAVIYO], omneo_port=ports[OMNEO])
    keys = _resumed(folder, sandbox, first)
    exchanges: deque[Exchange] = deque(maxlen=_EXCHANGES)
    with sandbox, _bundle(sandbox, folder, first, keys, exchanges.append) as bundle:
        if not keys.installation_key:
            keys = make_tenant(sandbox, bundle, keys)
            keys.write(folder / "keys.json")
        let_klaviyo_deliver(sandbox)
        write_environment(folder / "env", bundle.environment, FOR_COMMANDS)
        place = _place(sandbox, bundle, folder, keys, first)
        watching = Watching(
            sandbox,
            exchanges,
            lambda after: control("GET", f"{place.queue}/attempts?limit=1000&bodies=1&after={after}")[
                "attempts"
            ],
            Follower(bundle.logs, most=_LOG_TAIL),
            _secrets(bundle.environment, keys),
        )
        tenants = Tenants(place, bundle.environment, watching.mask)
        with Console(Here(place, watching, tenants)) as console:
            bundle.also_serve(PATHS, console.port, SECONDS)
            yield Demo(sandbox, bundle, place, console, exchanges)


def forget() -> None:
    """Remove the data that `run` keeps for this port.

    Raises:
        StartError: it is running.
    """
    first = port(os.environ)
    folder = _folder(first)
    if first and not is_free(first):
        raise StartError(f"Port {first}, for {GATEWAY}, is in use: stop make run first (Ctrl-C).")
    shutil.rmtree(folder, ignore_errors=True)
    say(f"{folder} is forgotten.")


def _folder(first: int) -> Path:
    return data_dir(os.environ) / f"demo-{first}"


def _resumed(folder: Path, sandbox: Sandbox, first: int) -> Keys:
    """Give the sandbox its data back, and return the keys. If something is missing, empty the folder and return new
    keys. On free ports everything begins anew, because the stored data names addresses that are gone.
    """
    keys = Keys.read(folder / "keys.json")
    if keys is not None and first:
        try:
            restore(folder / "sandbox", sandbox)
        except CannotRestoreError as reason:
            say(f"The demo begins anew: {reason}.")
        else:
            say(f"Going on with the tenant of the last start. {_BEGIN_ANEW}")
            return keys
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return Keys()


def _bundle(sandbox: Sandbox, folder: Path, first: int, keys: Keys, watch: Watch) -> Bundle:
    # The addresses of the sandbox are known once it has started, before this is called.
    given = _environment(sandbox, keys)
    check_environment(given, folder)
    return Bundle(folder, first, given, watch=watch)


def _secrets(environment: Mapping[str, str], keys: Keys) -> list[str]:
    """Return the secrets, which no page shows anywhere."""
    encryption = [part.partition(":")[2] for part in environment["ENCRYPTION_KEYS"].split(",")]
    return [keys.installation_key, keys.webhook_secret, environment["KLAVIYO_CLIENT_SECRET"], *encryption]


def _environment(sandbox: Sandbox, keys: Keys) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOST", CLOUD_TASKS) if name in os.environ}
    return kept | {
        "KLAVIYO_API_URL": sandbox.klaviyo.url,
        "KLAVIYO_AUTHORIZE_URL": f"{sandbox.klaviyo.url}/oauth/authorize",
        "OMNEO_API_URL": sandbox.omneo.url_template,
        "KLAVIYO_CLIENT_ID": sandbox.klaviyo.oauth.client_id,
        "KLAVIYO_CLIENT_SECRET": sandbox.klaviyo.oauth.client_secret,
        "ENCRYPTION_KEYS": keys.encryption_keys,
    }


@contextmanager
def _kept_and_reloaded(sandbox: Sandbox, bundle: Bundle, folder: Path) -> Iterator[None]:
    keeper = Keeper(sandbox, folder / "sandbox")
    reload = Reload(list(load_functions()), bundle.restart, say)
    keeper.start()
    reload.start()
    try:
        yield
    finally:
        reload.stop()
        bundle.stop()  # first, so that its last acts are kept too
        keeper.stop()


def _send_one_event(sandbox: Sandbox, bundle: Bundle) -> list[Hop]:
    """Issue a reward in Omneo and return the steps that everybody recorded, in the order of time."""
    number = time.time_ns() // 1_000_000  # a new one each time
    context = {
        "id": number,
        "value_initial": 20,
        "definition": {"name": "Birthday reward"},
        "profile": {"email": EMAIL, "first_name": "Jane"},
    }
    # A push of the catalogue may have changed the target, or added reactions of the same trigger.
    deliveries = sandbox.omneo.fire(TENANT, TRIGGER, context)
    if not deliveries:
        raise StartError(f"No reaction of {TRIGGER} is there any more. {_BEGIN_ANEW}")
    delivery = next((one for one in deliveries if one.status == 202), deliveries[0])
    if delivery.status != 202:
        answer = delivery.status or delivery.error
        raise StartError(f"The target answered {answer}; see {bundle.logs}. {_BEGIN_ANEW}")
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        attempts = [row for row in _attempts(bundle) if row["created_epoch"] > (delivery.sent_at or 0.0)]
        call = _create_event(sandbox, str(number))
        if attempts and call is not None:
            attempt = attempts[-1]
            return [
                Hop(delivery.fired_at, "a reward is issued; its reaction fires", "Omneo"),
                Hop(delivery.sent_at or 0.0, "the target is called, signed", "Omneo"),
                Hop(attempt["created_epoch"], "the job is safe in the queue", "queue"),
                Hop(delivery.answered_at or 0.0, "the target answers 202", "Omneo"),
                Hop(attempt["dispatched_epoch"], "the worker gets the job", "queue"),
                Hop(call.received_at, "Create Event arrives", "Klaviyo"),
                Hop(call.answered_at or 0.0, f"Klaviyo answers {call.status}", "Klaviyo"),
                Hop(attempt["answered_epoch"], f"the worker answers {attempt['status']}", "queue"),
            ]
        time.sleep(0.02)
    raise StartError(
        f"The event did not reach Klaviyo in {_WAIT_SECONDS:.0f} seconds; see {bundle.logs}. {_BEGIN_ANEW}"
    )


def _create_event(sandbox: Sandbox, reward_id: str) -> Any:
    """Return the call that brought Klaviyo the event of this reward, None until it has been answered."""
    for call in sandbox.klaviyo.calls.all():
        if call.path == "/api/events" and reward_id.encode() in call.body and call.answered_at:
            return call
    return None


def _attempts(bundle: Bundle) -> list[dict[str, Any]]:
    url = f"{bundle.tasks_http}/attempts?queue={TENANT}-klaviyo-outbound"
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own queue, on loopback
        attempts: list[dict[str, Any]] = json.load(answer)["attempts"]
    return [attempt for attempt in attempts if attempt["answered_epoch"]]


def _tell(hops: list[Hop], seconds: float) -> None:
    say("\nOne event went from Omneo to Klaviyo:\n")
    hops = sorted(hops, key=lambda hop: hop.at)
    for hop in hops:
        say(f"  {(hop.at - hops[0].at) * 1000:7.1f} ms  {hop.what:<42} seen by {hop.seen_by}")
    say(f"\nReady {seconds:.1f} seconds after the start.")


def _place(sandbox: Sandbox, bundle: Bundle, folder: Path, keys: Keys, first: int) -> Place:
    python = Path(sys.executable)
    return Place(
        url=bundle.url,
        klaviyo=sandbox.klaviyo.url,
        omneo=sandbox.omneo.url,
        queue=bundle.tasks_http,
        tenant=TENANT,
        account=ACCOUNT,
        email=EMAIL,
        omneo_profile=str(customer(sandbox)["id"]),
        klaviyo_profile=klaviyo_profile_id(sandbox),
        installation_key=keys.installation_key,
        webhook_secret=keys.webhook_secret,
        env_file=(folder / "env").resolve(),
        repository=REPOSITORY,
        python=python,
        port=first,
        reader="jq" if shutil.which("jq") else f"{shlex.quote(str(python))} -m json.tool",
    )


def _tell_what_next(place: Place, bundle: Bundle) -> None:
    say("\nTry next; each second line is one to copy:")
    for hint in hints(place):
        say(f"\n# {hint.label}\n{hint.command}")
    say(f"""
The install's page is {place.url}/klaviyo/install; give it {place.tenant} and {place.installation_key}
The console is {place.url}/ for a browser.
Serving on {place.url}. Logs: {bundle.logs}. A change to functions/ or shared/ starts functions again. Ctrl-C stops everything.""")
