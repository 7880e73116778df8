"""The checks before the first change: variables, billing, permissions, the region, quotas, cost. They change nothing."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from deploy import staging
from deploy.gcp import costs, naming, preflight, quotas, revisions
from deploy.gcp.google import Google, RefusedError
from deploy.gcp.naming import Place
from deploy.gcp.tables import write_rows
from deploy.gcp.upgrade import as_called

# Where each service keeps the list of its regions.
_LOCATIONS = {
    "run": "v1",
    "cloudtasks": "v2",
    "cloudscheduler": "v1",
    "firestore": "v1",
    "artifactregistry": "v1",
}
_AT_ONCE = 100  # permissions that are asked for in one call


def variable_problems(work: Path, place: Place) -> list[str]:
    """Return the variables with which the functions would not start, before anything is made: our own
    Settings read them.

    Reads `services.json` for the values of earlier runs, and `secrets-found`. A stored secret needs no new
    value.
    """
    running = revisions.read_services(json.loads((work / "services.json").read_text() or "[]"))
    place = as_called(work, place, running)
    stored = (work / "secrets-found").read_text().split()
    functions = staging.load_functions().values()
    found: dict[str, str] = {}
    for function in functions:
        found |= revisions.plain_variables(
            function, place, os.environ, running.get(naming.service(function.name))
        )
        for name in function.secrets:
            given = os.environ.get(name, "")
            kept = naming.secret(name) in stored or name in revisions.MADE_IF_MISSING
            found[name] = given or (revisions.STAND_IN[name] if kept else "")
    return revisions.problems(found)


def cost_findings(work: Path) -> list[preflight.Finding]:
    """Return whether the instances may cost more than the ceiling, and write their highest cost to `costs`."""
    known, functions = costs.load(), staging.load_functions()
    most = costs.ceiling(known, os.environ)
    write_rows(work / "costs", ([line] for line in costs.told(known, functions, most)))
    return costs.findings(known, functions, most)


def project_findings(place: Place) -> Iterator[preflight.Finding]:
    """Check whether billing is on, and whether the deploying account has every right that a deployment needs."""
    google = Google()
    try:
        told = google.get("cloudbilling", f"v1/projects/{place.project}/billingInfo")
    except RefusedError as error:
        yield preflight.Finding("warning", f"whether billing is on cannot be asked: {error}")
    else:
        yield from preflight.of_billing(told, place.project)
    role = yaml.safe_load(Path(__file__).with_name("deployer.yaml").read_text(encoding="utf-8"))
    wanted: list[str] = role["includedPermissions"]
    held: list[str] = []
    for start in range(0, len(wanted), _AT_ONCE):
        asked = {"permissions": wanted[start : start + _AT_ONCE]}
        try:
            answer = google.post(
                "cloudresourcemanager", f"v1/projects/{place.project}:testIamPermissions", asked
            )
        except RefusedError as error:
            yield preflight.Finding("warning", f"whether you may deploy cannot be asked: {error}")
            return
        held += answer.get("permissions", [])
    yield from preflight.of_permissions(wanted, held)


def region_findings(place: Place, apis: Iterable[str]) -> Iterator[preflight.Finding]:
    """Ask whether the region has every service that is on.

    Raises:
        RefusedError: Google refused.
    """
    google, on = Google(), set(apis)
    locations = {
        service: [
            row.get("locationId", "")
            for row in google.pages(service, f"{version}/projects/{place.project}/locations", "locations")
        ]
        for service, version in _LOCATIONS.items()
        if f"{service}.googleapis.com" in on
    }
    yield from preflight.of_region(place.region, locations)


def quota_shortages(work: Path) -> list[quotas.Shortage]:
    """Return which quotas are too small, and note in `limits-left-out` that there can be no security policies.

    Reads `quotas.json`, `backends-found` and `policies-found`.
    """
    told = json.loads((work / "quotas.json").read_text() or "{}")
    found = list(
        quotas.shortages(
            told.get("quotas", []),
            staging.load_functions(),
            backends=(work / "backends-found").read_text().split(),
            policies=(work / "policies-found").read_text().split(),
        )
    )
    if any(shortage.quota == quotas.POLICIES for shortage in found):
        (work / "limits-left-out").touch()
    return found
