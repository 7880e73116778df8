"""Writes the files that the scripts work from: lists with a tab between columns for their loops, JSON for gcloud."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from deploy import staging
from deploy.gcp import access, balancer, naming, quotas, revisions, watching
from deploy.gcp.naming import Place

APIS = (
    "artifactregistry",
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
    _rows(work / "schedules", (_schedule(name, row, place) for name, row in schedules.items()))
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
    watching.write(work, place.project)


def variable_problems(work: Path, place: Place) -> list[str]:
    """Return what the functions would not start with, before anything is made: our own Settings read the variables.

    Reads `services.json` for what was given before, and `secrets-found`. A secret that is stored needs no value now.
    """
    running = revisions.read_services(json.loads((work / "services.json").read_text() or "[]"))
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


def write_workers(work: Path) -> None:
    """Write the services of the workers."""
    workers = (function for function in staging.load_functions().values() if not function.public)
    _rows(work / "workers", ([naming.service(worker.name)] for worker in workers))


def _write_fields(work: Path) -> None:
    told = yaml.safe_load(Path(__file__).with_name("firestore.yaml").read_text(encoding="utf-8"))
    _rows(work / "expiring", ([group] for group in told["expiring"]))
    searched = told["never_searched"].items()
    _rows(work / "never-searched", ([group, field] for group, fields in searched for field in fields))


def _write_balancer(work: Path, functions: Mapping[str, staging.Function], place: Place) -> None:
    public = [function for function in functions.values() if function.public]
    things = {f"backend-{naming.service(f.name)}": balancer.backend_service(f, place) for f in public}
    things |= {f"policy-{limit}": balancer.security_policy(limit) for limit in balancer.limits(functions)}
    things["url-map"] = balancer.url_map(staging.load_routes(), place)
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
    _rows(work / "certificate", [[f"extension-{naming.fingerprint(place.domain)[:8]}"]])


def write_revisions(work: Path, place: Place) -> None:
    """Stage every function, compare it with what runs, and write what is to be done.

    Reads `services.json` and one `version-SECRET` file for each secret from the same folder.
    """
    services = json.loads((work / "services.json").read_text() or "[]")
    running = revisions.read_services(services)
    routes = staging.load_routes()
    rows = []
    # Workers come first: what a public function queues, a worker must know.
    for function in sorted(staging.load_functions().values(), key=lambda function: function.public):
        service = naming.service(function.name)
        now = running.get(service)
        source = staging.stage(function.name, work / "source" / service)
        given = revisions.variables(function, place, os.environ, now)
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
                "public" if function.public else "worker",
                mark,
                mounted or "-",
                revisions.smoke_path(function, routes),
                revisions.BASE_IMAGE,
            ]
        )
    _rows(work / "revisions", rows)


def write_traffic(work: Path) -> None:
    """Write, from `services.json`: service, newest revision, the one that serves, and the one before it; "-" for none."""
    running = revisions.read_services(json.loads((work / "services.json").read_text() or "[]"))
    names = [naming.service(name) for name in staging.load_functions()]
    _rows(
        work / "traffic",
        (
            [name, now.newest or "-", now.serving or "-", now.previous or "-"]
            for name, now in running.items()
            if name in names
        ),
    )


def _version(work: Path, variable: str) -> str:
    return (work / f"version-{naming.secret(variable)}").read_text().strip() or "1"


def _schedule(name: str, row: staging.Schedule, place: Place) -> list[str]:
    root = place.url(row.function)
    uri = f"{root}/tasks/{row.function.removesuffix('_worker')}"
    body = json.dumps({"kind": "every-tenant", "run": name})
    cron = _cron(row.every)
    return [
        name,
        cron,
        uri,
        root,
        body,
        naming.fingerprint(cron, uri, root, body, place.email(naming.SCHEDULE)),
    ]


def _cron(minutes: int) -> str:
    """Return every so many minutes in cron's form.

    >>> _cron(5), _cron(360), _cron(1440)
    ('*/5 * * * *', '0 */6 * * *', '0 0 * * *')
    """
    if minutes < 60:
        return f"*/{minutes} * * * *"
    hours = minutes // 60
    return f"0 */{hours} * * *" if hours < 24 else "0 0 * * *"


def _rows(path: Path, rows: Iterable[Iterable[str]]) -> None:
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")


def _json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
