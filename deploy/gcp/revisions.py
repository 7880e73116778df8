"""The revision that each function should run, the one that it runs, and the step from one to the other.

A revision is known by a fingerprint of everything that makes it: source, settings, variables, versions of secrets. The
fingerprint is a label on the service, so that a run which changes nothing builds nothing.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.gcp import naming
from deploy.gcp.naming import Place
from deploy.staging import Function, Route
from shared.errors import ConfigurationError
from shared.settings import TASKS, Needs, Settings

BASE_IMAGE = "python313"  # the runtime of every function: Python and the system below it, which Google keeps up to date
_EVERYTHING = Needs.STORE | Needs.QUEUES | TASKS | Needs.KLAVIYO_APP | Needs.PUBLIC_URL
_FIXED = {"STORE": "firestore", "QUEUE": "cloud-tasks"}  # whatever the operator's own shell says
_NOBODY = "no-tenant-is-called-this"
MADE_IF_MISSING = {"ENCRYPTION_KEYS"}
# Stands in for a stored secret in the checks: only its form matters to the other variables.
STAND_IN = {
    "ENCRYPTION_KEYS": f"stored:{base64.b64encode(bytes(32)).decode()}",
    "KLAVIYO_CLIENT_SECRET": "stored",
}


@dataclass(frozen=True)
class Running:
    """A service as it is: the fingerprint of its newest revision, and which revisions calls go to.

    `serving` takes all calls, "" if they are shared; `before` takes the most of them beside the newest; `previous` took them before
    the last upgrade.
    """

    fingerprint: str
    is_ready: bool
    newest: str
    serving: str
    before: str
    previous: str
    variables: Mapping[str, str]

    @classmethod
    def read(cls, service: Mapping[str, Any]) -> "Running":
        """Read one service of `gcloud run services list --format=json`."""
        status, template = service.get("status", {}), service["spec"]["template"]
        routed = status.get("traffic", [])
        newest = status.get("latestReadyRevisionName", "")
        shares = _shares(routed)
        tagged = {row["tag"]: row.get("revisionName", "") for row in routed if "tag" in row}
        return cls(
            fingerprint=service["metadata"].get("labels", {}).get("fingerprint", ""),
            is_ready=status.get("latestCreatedRevisionName") == status.get("latestReadyRevisionName"),
            newest=newest,
            serving=next((name for name, share in shares.items() if share == 100), ""),
            before=next((name for name in shares if name != newest), ""),
            previous=tagged.get("previous", ""),
            variables={
                variable["name"]: variable["value"]
                for variable in template["spec"]["containers"][0].get("env", [])
                if "value" in variable
            },
        )


def _shares(routed: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many in a hundred calls each revision takes, the largest share first; a tag may have a row of its own."""
    found: dict[str, int] = {}
    for row in routed:
        if row.get("percent") and row.get("revisionName"):
            found[row["revisionName"]] = found.get(row["revisionName"], 0) + row["percent"]
    return dict(sorted(found.items(), key=lambda share: -share[1]))


def read_services(services: Iterable[Mapping[str, Any]]) -> dict[str, Running]:
    """Return the running services by name."""
    return {service["metadata"]["name"]: Running.read(service) for service in services}


def plain_variables(
    function: Function, place: Place, given: Mapping[str, str], running: Running | None
) -> dict[str, str]:
    """Return the plain variables of a function, without those that are empty.

    The values that deployment knows come first. Then come the variables in the operator's environment (`given`), where
    an empty value removes a variable. Last come the values that the function has now.
    """
    known = _FIXED | {
        "GOOGLE_CLOUD_PROJECT": place.project,
        "GOOGLE_CLOUD_REGION": place.region,
        "TASKS_SERVICE_ACCOUNT": place.email(naming.TASKS),
        "INBOUND_WORKER_URL": place.url("inbound_worker"),
        "OUTBOUND_WORKER_URL": place.url("outbound_worker"),
        "EXTENSION_URL": f"https://{place.domain}",
    }
    before = running.variables if running else {}
    found = {name: known.get(name, given.get(name, before.get(name, ""))) for name in function.env}
    return {name: value for name, value in found.items() if value}


def variables(
    function: Function, place: Place, given: Mapping[str, str], running: Running | None
) -> dict[str, str]:
    """Return everything that a function is given beside its secrets.

    More calls than threads would wait where nobody sees them, so there are as many.
    """
    return plain_variables(function, place, given, running) | {"THREADS": str(function.concurrency)}


def problems(variables: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the variables of all functions together, one line each, without their values."""
    try:
        Settings.from_env(variables, _EVERYTHING)
    except ConfigurationError as error:
        return [line.strip() for line in str(error).splitlines()[1:]]
    return []


def wanted_fingerprint(
    function: Function, source: Path, variables: Mapping[str, str], secrets: Mapping[str, str]
) -> str:
    """Return the fingerprint of a revision: `source` is its staged root, `secrets` the version of each."""
    settings = function.model_dump_json(
        exclude={"first_share", "watch_minutes"}
    )  # how it is rolled out, not what it is
    parts: list[bytes | str] = [settings, BASE_IMAGE]
    parts += [json.dumps(dict(variables), sort_keys=True), json.dumps(dict(secrets), sort_keys=True)]
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        parts += [path.relative_to(source).as_posix(), path.read_bytes()]
    return naming.fingerprint(*parts)


def action(fingerprint: str, running: Running | None) -> str:
    """Return the next step: `create`, `upgrade`, `promote` a revision that is there already, or `nothing`.

    `mend` is an upgrade of a service that has never run: it has no older revision that could keep the calls.
    """
    if running is None:
        return "create"
    if not running.newest:
        return "mend"
    if running.fingerprint != fingerprint or not running.is_ready:
        return "upgrade"  # also when the revision of this fingerprint never started
    return "nothing" if running.serving == running.newest else "promote"


def smoke_path(function: Function, routes: Iterable[Route]) -> str:
    """Return a path where a POST changes nothing: our own code refuses it, in every revision.

    If a path names a tenant, the code refuses an unknown tenant only after a read of the store. Then the answer shows
    that the revision has started, is configured, and reaches Firestore.
    """
    for route in routes:
        if route.function == function.name and route.path.startswith("/{tenant=*}/"):
            rest = route.path.removeprefix("/{tenant=*}/").replace("**", "metric")
            return f"/{_NOBODY}/" + re.sub(r"\{\w+(=\*)?\}", _NOBODY, rest)
    return f"/{_NOBODY}"
