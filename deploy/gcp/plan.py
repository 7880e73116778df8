"""The plan of a deployment: all that follows from our own files and the place alone, written for the scripts. Google is not asked."""

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from deploy import staging
from deploy.gcp import access, balancer, front, naming, watching
from deploy.gcp.naming import Place
from deploy.gcp.tables import words_in, write_json, write_rows

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
# Of a run that a worker could not take; the next one comes soon enough for those every five minutes.
RETRIES_OF_SCHEDULES = 3


def write_plan(work: Path, place: Place) -> None:
    """Write everything that follows from our own files and the place alone."""
    functions = staging.load_functions()
    schedules = staging.load_schedules()
    secrets = sorted({name for function in functions.values() for name in function.secrets})
    workers = [name for name, function in functions.items() if not function.public]
    write_rows(work / "apis", ([f"{name}.googleapis.com"] for name in APIS))
    write_rows(work / "accounts", ([name, place.email(name), what] for name, what in naming.OURS.items()))
    write_rows(work / "secrets", ([naming.secret(name), name] for name in secrets))
    write_workers(work)
    write_rows(work / "functions", ([name, naming.service(name)] for name in functions))
    write_rows(
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
        write_json(work / f"access-{name}.json", {role: sorted(members) for role, members in roles.items()})
    _write_balancer(work, functions, place)
    _write_clean_ups(work, [naming.service(name) for name in functions])
    watching.write(work, place.project, [place.domain, *words_in(work / "old-hosts")])


def write_workers(work: Path) -> None:
    """Write the services of the workers."""
    workers = (function for function in staging.load_functions().values() if not function.public)
    write_rows(work / "workers", ([naming.service(worker.name)] for worker in workers))


def _write_clean_ups(work: Path, services: list[str]) -> None:
    """Write the rules that remove old images and uploaded sources of our own services: each upgrade leaves
    one of each.

    Cloud Run keeps the image of a revision itself; the copies here only serve a person who wants to look at
    them.
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
    write_json(work / "source-lifecycle.json", {"rule": [rule]})


def _write_fields(work: Path) -> None:
    told = yaml.safe_load(Path(__file__).with_name("firestore.yaml").read_text(encoding="utf-8"))
    write_rows(work / "expiring", ([group] for group in told["expiring"]))
    searched = told["never_searched"].items()
    write_rows(work / "never-searched", ([group, field] for group, fields in searched for field in fields))


def _write_balancer(work: Path, functions: Mapping[str, staging.Function], place: Place) -> None:
    public = [function for function in functions.values() if function.public]
    things = {f"backend-{naming.service(f.name)}": balancer.backend_service(f, place) for f in public}
    things |= {f"policy-{limit}": balancer.security_policy(limit) for limit in balancer.limits(functions)}
    things["url-map"] = balancer.url_map(staging.load_routes(), place, words_in(work / "old-hosts"))
    things["redirect-map"] = balancer.redirect_map()
    for name, thing in things.items():
        write_json(work / f"{name}.json", thing)
    write_rows(
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
    write_rows(
        work / "policies",
        (
            [str(n), balancer.policy_name(n), things[f"policy-{n}"]["description"]]
            for n in balancer.limits(functions)
        ),
    )
    write_rows(
        work / "maps",
        ([name, things[name]["name"], things[name]["description"]] for name in ("url-map", "redirect-map")),
    )
    write_rows(work / "certificate", [[front.certificate_name(place.domain)]])


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
