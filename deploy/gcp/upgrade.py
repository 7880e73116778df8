"""The rules of an upgrade: the step for each function, how calls move to the new revision, and when they move back."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from deploy import staging
from deploy.gcp import naming, revisions, rollout
from deploy.gcp.google import Google
from deploy.gcp.naming import Place
from deploy.gcp.tables import rows_in, words_in, write_rows


def write_revisions(work: Path, place: Place) -> None:
    """Stage every function, compare it with the running one, and write the next step.

    Reads `services.json` and one `version-SECRET` file for each secret from the same folder, and whether
    `limits-left-out` exists.
    """
    # Empty takes it away again: the doctor warns only as long as it is so.
    asked = os.environ | {"ADDRESS_LIMITS": "none" if (work / "limits-left-out").exists() else ""}
    services = json.loads((work / "services.json").read_text() or "[]")
    running = revisions.read_services(services)
    place = as_called(work, place, running)
    routes = staging.load_routes()
    rows = []
    # Workers come first: a worker must know every job that a public function queues.
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
    write_rows(work / "revisions", rows)


def write_traffic(work: Path) -> None:
    """Write the revisions that take calls, and how an upgrade is rolled out. Reads `services.json`.

    Columns: service; newest revision; the one that takes all calls; the one that takes the most beside the newest; the one before
    the last upgrade; "-" for none. Then the first share of an upgrade, and for how many minutes it is watched.
    """
    running = revisions.read_services(json.loads((work / "services.json").read_text() or "[]"))
    functions = {naming.service(name): function for name, function in staging.load_functions().items()}
    asked = os.environ.get("WATCH_MINUTES", "")
    write_rows(
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


def verdicts(work: Path, place: Place, since: str) -> Iterator[tuple[str, str]]:
    """Yield each service of `rolling` that should not take all calls, and why; `since` is when they began to take a share."""
    now = max(datetime.now(UTC), datetime.fromisoformat(since.replace("Z", "+00:00")) + timedelta(seconds=1))
    rolling = [row[:3] for row in rows_in(work / "rolling")]
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


def as_called(work: Path, place: Place, running: Mapping[str, revisions.Running]) -> Place:
    """Return the place under the name that the functions are called by: that of before, until the new one serves."""
    hosts = words_in(work / "serving-host")
    now = {
        service.variables.get("EXTENSION_URL", "").removeprefix("https://") for service in running.values()
    }
    return replace(place, domain=next((host for host in hosts if host in now), [*hosts, place.domain][0]))


def _version(work: Path, variable: str) -> str:
    return (work / f"version-{naming.secret(variable)}").read_text().strip() or "1"
