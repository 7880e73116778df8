"""Writes the files that the scripts work from: lists with a tab between columns for their loops, JSON for gcloud."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from deploy import staging
from deploy.gcp import (
    access,
    balancer,
    costs,
    front,
    naming,
    overview,
    preflight,
    quotas,
    revisions,
    rollout,
    watching,
)
from deploy.gcp.google import Google, RefusedError
from deploy.gcp.naming import Place

APIS = (
    "artifactregistry",
    "certificatemanager",
    "cloudbuild",
    "cloudresourcemanager",
    "cloudscheduler",
    "cloudtasks",
    "compute",
    "firestore",
    "iam",
    "logging",
    "monitoring",
    "run",
    "secretmanager",
    "storage",
)


DAYS_KEPT = 30
RETRIES_OF_SCHEDULES = (
    3  # a run that a worker could not take; the next one comes soon enough for those every five minutes
)


def write_plan(work: Path, place: Place) -> None:
    """Write everything that follows from our own files and the place alone."""
    functions = staging.load_functions()
    schedules = staging.load_schedules()
    secrets = sorted({name for function in functions.values() for name in function.secrets})
    workers = [name for name, function in functions.items() if not function.public]
    _rows(work / "apis", ([f"{name}.googleapis.com"] for name in APIS))
    _rows(work / "accounts", ([name, place.email(name), what] for name, what in naming.OURS.items()))
    _rows(work / "secrets", ([naming.secret(name), name] for name in secrets))
    write_workers(work)
    _rows(work / "functions", ([name, naming.service(name)] for name in functions))
    _rows(
        work / "schedules",
        (_schedule(number, name, row, place) for number, (name, row) in enumerate(schedules.items())),
    )
    _write_fields(work)
    wanted = {
        "project": access.on_project(functions, place),
        "tasks": access.on_tasks_account(functions, place),
    }
    wanted |= {f"secret-{naming.secret(name)}": access.on_secret(name, functions, place) for name in secrets}
    wanted |= {f"worker-{naming.service(name)}": access.on_worker(name, schedules, place) for name in workers}
    for name, roles in wanted.items():
        _json(work / f"access-{name}.json", {role: sorted(members) for role, members in roles.items()})
    _write_balancer(work, functions, place)
    _write_clean_ups(work, [naming.service(name) for name in functions])
    watching.write(work, place.project, [place.domain, *_lines(work / "old-hosts")])


def variable_problems(work: Path, place: Place) -> list[str]:
    """Return what the functions would not start with, before anything is made: our own Settings read the variables.

    Reads `services.json` for what was given before, and `secrets-found`. A secret that is stored needs no value now.
    """
    running = revisions.read_services(json.loads((work / "services.json").read_text() or "[]"))
    place = _as_called(work, place, running)
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
    """Return whether the instances may cost more than the ceiling, and write to `costs` what they may cost."""
    known, functions = costs.load(), staging.load_functions()
    most = costs.ceiling(known, os.environ)
    _rows(work / "costs", ([line] for line in costs.told(known, functions, most)))
    return costs.findings(known, functions, most)


# Where each service keeps the list of its regions.
_LOCATIONS = {
    "run": "v1",
    "cloudtasks": "v2",
    "cloudscheduler": "v1",
    "firestore": "v1",
    "artifactregistry": "v1",
}
_AT_ONCE = 100  # permissions that are asked for in one call


def project_findings(place: Place) -> Iterator[preflight.Finding]:
    """Ask whether billing is on, and whether whoever deploys may do all that deploying needs."""
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


def overview_lines(work: Path) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield each heading of the overview with its lines. Reads what gcloud has listed as JSON."""

    def listed(name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((work / f"{name}.json").read_text() or "[]")
        return found

    functions, backends = staging.load_functions(), listed("backends")
    yield "functions", overview.of_functions(listed("services"), functions)
    yield "queues", overview.of_queues(listed("queues"))
    yield "alerts", overview.of_alerts(listed("alerts"))
    yield "front", overview.of_front(listed("certificates"), backends, functions)
    costing = overview.of_costs(listed("services"), functions, backends, listed("databases"))
    yield "what costs money while nobody calls", costing


def write_workers(work: Path) -> None:
    """Write the services of the workers."""
    workers = (function for function in staging.load_functions().values() if not function.public)
    _rows(work / "workers", ([naming.service(worker.name)] for worker in workers))


def _write_clean_ups(work: Path, services: list[str]) -> None:
    """Write what becomes of old images and uploaded sources, of our own services alone: each upgrade leaves one of each.

    Cloud Run keeps the image of a revision itself; what stays here is for looking at.
    """
    keep = {"packageNamePrefixes": services, "keepCount": 10}
    old = {"packageNamePrefixes": services, "olderThan": f"{DAYS_KEPT * 86400}s"}
    policies = [
        {"name": "keep-the-newest", "action": {"type": "Keep"}, "mostRecentVersions": keep},
        {"name": "remove-the-old", "action": {"type": "Delete"}, "condition": old},
    ]
    prefixes = [f"services/{service}/" for service in services]
    rule = {"action": {"type": "Delete"}, "condition": {"age": DAYS_KEPT, "matchesPrefix": prefixes}}
    (work / "image-policies.json").write_text(json.dumps(policies), encoding="utf-8")
    _json(work / "source-lifecycle.json", {"rule": [rule]})


def _write_fields(work: Path) -> None:
    told = yaml.safe_load(Path(__file__).with_name("firestore.yaml").read_text(encoding="utf-8"))
    _rows(work / "expiring", ([group] for group in told["expiring"]))
    searched = told["never_searched"].items()
    _rows(work / "never-searched", ([group, field] for group, fields in searched for field in fields))


def _write_balancer(work: Path, functions: Mapping[str, staging.Function], place: Place) -> None:
    public = [function for function in functions.values() if function.public]
    things = {f"backend-{naming.service(f.name)}": balancer.backend_service(f, place) for f in public}
    things |= {f"policy-{limit}": balancer.security_policy(limit) for limit in balancer.limits(functions)}
    things["url-map"] = balancer.url_map(staging.load_routes(), place, _lines(work / "old-hosts"))
    things["redirect-map"] = balancer.redirect_map()
    for name, thing in things.items():
        _json(work / f"{name}.json", thing)
    _rows(
        work / "backends",
        (
            [
                naming.service(f.name),
                things[f"backend-{naming.service(f.name)}"]["description"],
                balancer.policy_name(f.calls_per_minute) if f.calls_per_minute else "-",
            ]
            for f in public
        ),
    )
    _rows(
        work / "policies",
        (
            [str(n), balancer.policy_name(n), things[f"policy-{n}"]["description"]]
            for n in balancer.limits(functions)
        ),
    )
    _rows(
        work / "maps",
        ([name, things[name]["name"], things[name]["description"]] for name in ("url-map", "redirect-map")),
    )
    _rows(work / "certificate", [[front.certificate_name(place.domain)]])


def write_revisions(work: Path, place: Place) -> None:
    """Stage every function, compare it with what runs, and write what is to be done.

    Reads `services.json` and one `version-SECRET` file for each secret from the same folder, and whether `limits-left-out` is there.
    """
    # Empty takes it away again: the doctor warns only as long as it is so.
    asked = os.environ | {"ADDRESS_LIMITS": "none" if (work / "limits-left-out").exists() else ""}
    services = json.loads((work / "services.json").read_text() or "[]")
    running = revisions.read_services(services)
    place = _as_called(work, place, running)
    routes = staging.load_routes()
    rows = []
    # Workers come first: what a public function queues, a worker must know.
    for function in sorted(staging.load_functions().values(), key=lambda function: function.public):
        service = naming.service(function.name)
        now = running.get(service)
        source = staging.stage(function.name, work / "source" / service)
        given = revisions.variables(function, place, asked, now)
        versions = {name: _version(work, name) for name in function.secrets}
        mark = revisions.wanted_fingerprint(function, source, given, versions)
        (work / f"variables-{service}.yaml").write_text(yaml.safe_dump(given), encoding="utf-8")
        mounted = ",".join(f"{name}={naming.secret(name)}:{version}" for name, version in versions.items())
        rows.append(
            [
                revisions.action(mark, now),
                service,
                function.entry_point,
                place.email(naming.account(function)),
                function.memory,
                f"{function.cpu:g}",
                str(function.concurrency),
                str(function.timeout),
                str(function.min_instances),
                str(function.max_instances),
                "public" if function.public else "worker",
                mark,
                mounted or "-",
                revisions.smoke_path(function, routes),
                revisions.BASE_IMAGE,
            ]
        )
    _rows(work / "revisions", rows)


def write_traffic(work: Path) -> None:
    """Write which revisions calls go to, and how an upgrade comes. Reads `services.json`.

    Columns: service; newest revision; the one that takes all calls; the one that takes the most beside the newest; the one before
    the last upgrade; "-" for none. Then the first share of an upgrade, and for how many minutes it is watched.
    """
    running = revisions.read_services(json.loads((work / "services.json").read_text() or "[]"))
    functions = {naming.service(name): function for name, function in staging.load_functions().items()}
    asked = os.environ.get("WATCH_MINUTES", "")
    _rows(
        work / "traffic",
        (
            [
                name,
                now.newest or "-",
                now.serving or "-",
                now.before or "-",
                now.previous or "-",
                str(functions[name].first_share),
                asked or str(functions[name].watch_minutes),
            ]
            for name, now in running.items()
            if name in functions
        ),
    )


def write_front(work: Path, place: Place, apis: Iterable[str]) -> None:
    """Ask what stands in front, and write it; with another domain than before, also what serves on.

    `old-hosts` serve beside the domain; they stand in `serving-host` too as long as the functions are called under one of them.
    `moving` says why, `begun` is there if an earlier run began to move.
    """
    google = Google()
    found = front.read(google, place.project, apis, datetime.now(UTC))
    _rows(work / "addresses", [["extension", found.address, found.made_by or "-"]] if found.address else [])
    _rows(work / "certificates", ([name, *row] for name, row in found.classic.items()))
    _rows(work / "attached", ([name] for name in found.attached))
    _rows(
        work / "authorizations", ([name, row.data, row.record] for name, row in found.authorizations.items())
    )
    _rows(work / "managed", ([name, state or "-"] for name, state in found.certificates.items()))
    _rows(work / "entries", ([name, host] for name, host in found.entries.items()))
    _rows(work / "certificate-maps", ([name] for name in found.maps))
    attached = "map" if found.maps_attached else "classic"
    _rows(work / "https-proxies", [["extension", attached, found.tls or "-"]] if found.proxy else [])
    if place.domain:
        _write_move(work, place, found, google)


def _write_move(work: Path, place: Place, found: front.Front, google: Google) -> None:
    old = found.old_hosts(place.domain)
    is_active = found.certificates.get(front.certificate_name(place.domain)) == "ACTIVE"
    leads_here = bool(old) and is_active and found.address in google.addresses_of(place.domain)
    called = [host for host in old if leads_here and _was_called(google, place, host)]
    if not old or (leads_here and not called):
        why, kept = "", []
    elif not is_active:
        why, kept = f"until the certificate of {place.domain} is active", old
    elif not leads_here:
        why, kept = f"until {place.domain} leads to {found.address} in the DNS", old
    else:
        why, kept = "as long as it is called: within the last day it was", called
    _rows(work / "old-hosts", ([host] for host in kept))
    gone = [name for name, host in found.entries.items() if host in old and host not in kept]
    _rows(work / "gone-names", ([name] for name in gone))
    proofs = {row.record: row.data for name, row in found.authorizations.items() if name in gone}
    _rows(work / "gone-records", map(_place_of, _leading(google, work, place, "", proofs) if proofs else []))
    _rows(work / "moving", [[why]] if why else [])
    _rows(work / "serving-host", ([host] for host in kept if not leads_here))
    if found.has_begun(place.domain):
        (work / "begun").touch()


def _was_called(google: Google, place: Place, host: str) -> bool:
    """Whether the load balancer's log holds a call of the last day, under this name, that we did not refuse."""
    since = datetime.now(UTC) - timedelta(days=1)
    wanted = (
        'resource.type="http_load_balancer" AND httpRequest.status<400'
        f' AND httpRequest.requestUrl:"https://{host}/" AND timestamp>="{since:%Y-%m-%dT%H:%M:%SZ}"'
    )
    body = {"resourceNames": [f"projects/{place.project}"], "filter": wanted, "pageSize": 1}
    return bool(google.post("logging", "v2/entries:list", body).get("entries"))


def write_record(work: Path, place: Place) -> None:
    """Write, in `record`, what becomes of the DNS record in `wanted-record`. Asks Cloud DNS, where it is on."""
    google = Google()
    zones = _zones(google, work, place)
    rows = []
    for name, type, data in _columns(work / "wanted-record"):
        zone = front.zone_of(name, zones)
        present = _in_zone(google, place, zone) if zone else []
        row = front.record(name, type, data, zone, present)
        rows.append([*row[:4], row.zone or "-"])
    _rows(work / "record", rows)


def write_pointing_here(work: Path, place: Place) -> None:
    """Write, in `pointing-here`, the records of all zones that lead to our address or prove a domain to our certificates.

    Those of names that no deployment has made stand in `leading-nowhere`: they stay, and lead nowhere once the address is gone.
    """
    google = Google()
    address = next((row[1] for row in _columns(work / "addresses") if row[0] == "extension"), "")
    proofs = {record: data for _, data, record in _columns(work / "authorizations")}
    found = list(_leading(google, work, place, address, proofs))
    _rows(work / "pointing-here", (_place_of(row) for row in found if row.action == "there"))
    _rows(work / "leading-nowhere", (_place_of(row) for row in found if row.action == "theirs"))


def _leading(
    google: Google, work: Path, place: Place, address: str, proofs: Mapping[str, str]
) -> Iterator[front.Record]:
    """Yield the records that lead to the address, or prove a domain as `front.pointing_here` has it."""
    for zone in _zones(google, work, place):
        present = _in_zone(google, place, zone["name"])
        yield from front.pointing_here(address, proofs, zone["name"], present)


def _place_of(record: front.Record) -> list[str]:
    """Return the name, the type and the zone of a record."""
    return [record.name, record.type, record.zone]


def _zones(google: Google, work: Path, place: Place) -> list[dict[str, Any]]:
    if "dns.googleapis.com" not in _lines(work / "apis-on"):
        return []
    return list(google.pages("dns", f"projects/{place.project}/managedZones", "managedZones"))


def _in_zone(google: Google, place: Place, zone: str) -> list[dict[str, Any]]:
    return list(google.pages("dns", f"projects/{place.project}/managedZones/{zone}/rrsets", "rrsets"))


def _columns(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def verdicts(work: Path, place: Place, since: str) -> Iterator[tuple[str, str]]:
    """Yield each service of `rolling` that should not take all calls, and why; `since` is when they began to take a share."""
    now = max(datetime.now(UTC), datetime.fromisoformat(since.replace("Z", "+00:00")) + timedelta(seconds=1))
    rolling = [line.split("\t")[:3] for line in (work / "rolling").read_text().splitlines()]
    series = Google().pages(
        "monitoring",
        f"v3/projects/{place.project}/timeSeries",
        "timeSeries",
        filter=rollout.question((service for service, _, _ in rolling), place.region),
        **{
            "interval.startTime": since,
            "interval.endTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "aggregation.alignmentPeriod": "60s",
            "aggregation.perSeriesAligner": "ALIGN_SUM",
            "aggregation.crossSeriesReducer": "REDUCE_SUM",
            "aggregation.groupByFields": [
                "resource.labels.revision_name",
                "metric.labels.response_code_class",
            ],
        },
    )
    counts = rollout.counted(series)
    for service, newest, before in rolling:
        if why := rollout.verdict(counts.get(newest, {}), counts.get(before, {})):
            yield service, why


def _as_called(work: Path, place: Place, running: Mapping[str, revisions.Running]) -> Place:
    """Return the place under the name that the functions are called by: that of before, until the new one serves."""
    hosts = _lines(work / "serving-host")
    now = {
        service.variables.get("EXTENSION_URL", "").removeprefix("https://") for service in running.values()
    }
    return replace(place, domain=next((host for host in hosts if host in now), [*hosts, place.domain][0]))


def _version(work: Path, variable: str) -> str:
    return (work / f"version-{naming.secret(variable)}").read_text().strip() or "1"


def _schedule(number: int, name: str, row: staging.Schedule, place: Place) -> list[str]:
    root = place.url(row.function)
    uri = f"{root}/tasks/{row.function.removesuffix('_worker')}"
    body = json.dumps({"kind": "every-tenant", "run": name})
    cron = _cron(row.every, number)
    mark = naming.fingerprint(cron, uri, root, body, place.email(naming.SCHEDULE), str(RETRIES_OF_SCHEDULES))
    return [name, cron, uri, root, body, mark, str(RETRIES_OF_SCHEDULES)]


def _cron(minutes: int, place: int) -> str:
    """Return every so many minutes in cron's form; `place` is that in the list, so that not everything starts in one second.

    >>> _cron(5, 1), _cron(360, 2), _cron(1440, 3)
    ('2-59/5 * * * *', '14 */6 * * *', '21 3 * * *')
    """
    minute = 7 * place % min(minutes, 60)
    if minutes < 60:
        return f"{minute}-59/{minutes} * * * *"
    hours = minutes // 60
    return f"{minute} */{hours} * * *" if hours < 24 else f"{minute} 3 * * *"


def _lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def _rows(path: Path, rows: Iterable[Iterable[str]]) -> None:
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")


def _json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
