"""Plays Cloud Scheduler, Cloud Monitoring and log-based metrics."""

import re

from tests.deploy.gcp.cloud import Cloud, RefusedError, Request, Thing, keeps, plays
from tests.deploy.gcp.message_classes import enumerated

_JOBS = "/v1/projects/{project}/locations/{region}/jobs"

keeps("cloudscheduler", _JOBS, "job", "jobs")
keeps("logging", "/v2/projects/{project}/metrics", "metric", "metrics")
keeps("monitoring", "/v1/projects/{project}/dashboards", "dashboard", "dashboards")
keeps("monitoring", "/v3/projects/{project}/alertPolicies", "alert", "alertPolicies")


@plays("cloudscheduler", "POST", _JOBS)
def create_job(cloud: Cloud, request: Request, project: str, region: str) -> Thing:
    wanted = request.json
    cloud.get(f"account/{wanted['httpTarget']['oidcToken']['serviceAccountEmail']}")
    id = wanted["name"].rpartition("/")[2]
    return cloud.create(f"job/{id}", {**wanted, "state": "ENABLED"})


@plays("cloudscheduler", "PATCH", f"{_JOBS}/{{id}}")
def update_job(cloud: Cloud, request: Request, project: str, region: str, id: str) -> Thing:
    found = cloud.get(f"job/{id}")
    found |= request.json
    return found


@plays("logging", "POST", "/v2/projects/{project}/metrics")
def create_metric(cloud: Cloud, request: Request, project: str) -> Thing:
    _check_extractors(request.json)
    return cloud.create(f"metric/{request.json['name']}", request.json)


@plays("logging", "PUT", "/v2/projects/{project}/metrics/{id}")
def update_metric(cloud: Cloud, request: Request, project: str, id: str) -> Thing:
    cloud.get(f"metric/{id}")
    _check_extractors(request.json)
    cloud.things[f"metric/{id}"] = request.json
    return request.json


def _check_extractors(metric: Thing) -> None:
    described = {label["key"] for label in metric.get("metricDescriptor", {}).get("labels", [])}
    if described != set(metric.get("labelExtractors", {})):
        raise RefusedError(400, "Every label needs an extractor, and every extractor a label.")


@plays("monitoring", "POST", "/v1/projects/{project}/dashboards")
def create_dashboard(cloud: Cloud, request: Request, project: str) -> Thing:
    wanted = request.json
    parent, _, id = wanted.get("name", f"projects/{project}/dashboards/{cloud.tick()}").rpartition("/")
    if parent != f"projects/{project}/dashboards":
        raise RefusedError(400, "The parent of the dashboard's name must be the project of the request.")
    _check_metrics(cloud, str(wanted))
    name = f"projects/{cloud.number}/dashboards/{id}"
    return cloud.create(f"dashboard/{id}", {**wanted, "name": name, "etag": f"etag{cloud.tick()}"})


@plays("monitoring", "PATCH", "/v1/projects/{project}/dashboards/{id}")
def update_dashboard(cloud: Cloud, request: Request, project: str, id: str) -> Thing:
    found = cloud.get(f"dashboard/{id}")
    if request.json.get("etag") != found["etag"]:
        raise RefusedError(409, "etag mismatch")
    cloud.things[f"dashboard/{id}"] = request.json | {"name": found["name"], "etag": f"etag{cloud.tick()}"}
    return cloud.things[f"dashboard/{id}"]


@plays("monitoring", "POST", "/v3/projects/{project}/alertPolicies")
def create_policy(cloud: Cloud, request: Request, project: str) -> Thing:
    wanted = request.json
    _check_metrics(cloud, str(wanted))
    id = str(cloud.tick())
    return cloud.create(f"alert/{id}", {**wanted, "name": f"projects/{cloud.project}/alertPolicies/{id}"})


@plays("monitoring", "PATCH", "/v3/projects/{project}/alertPolicies/{id}")
def update_policy(cloud: Cloud, request: Request, project: str, id: str) -> Thing:
    found = cloud.get(f"alert/{id}")
    _check_metrics(cloud, str(request.json))
    cloud.things[f"alert/{id}"] = request.json | {"name": found["name"]}
    return cloud.things[f"alert/{id}"]


@plays("monitoring", "GET", "/v3/projects/{project}/notificationChannels")
def channels(cloud: Cloud, request: Request, project: str) -> Thing:
    return {"notificationChannels": cloud.under("channel")}


@plays("monitoring", "POST", "/v3/projects/{project}/notificationChannels")
def create_channel(cloud: Cloud, request: Request, project: str) -> Thing:
    id = str(cloud.tick())
    name = f"projects/{cloud.project}/notificationChannels/{id}"
    return cloud.create(f"channel/{id}", {**request.json, "name": name})


@plays("monitoring", "DELETE", "/v3/projects/{project}/notificationChannels/{id}")
def delete_channel(cloud: Cloud, request: Request, project: str, id: str) -> None:
    cloud.delete(f"channel/{id}")


@plays("monitoring", "GET", "/v3/projects/{project}/uptimeCheckConfigs")
def uptime_checks(cloud: Cloud, request: Request, project: str) -> Thing:
    return {"uptimeCheckConfigs": cloud.under("uptime")}


@plays("monitoring", "POST", "/v3/projects/{project}/uptimeCheckConfigs")
def create_uptime_check(cloud: Cloud, request: Request, project: str) -> Thing:
    """Keep a check under a name of Google's, if its period is one of four and it runs from three places at least."""
    wanted = request.json
    if wanted.get("period", "60s") not in {"60s", "300s", "600s", "900s"}:
        raise RefusedError(400, "The period must be 60s, 300s, 600s or 900s.")
    if 0 < len(wanted.get("selectedRegions", [])) < 3:
        raise RefusedError(400, "At least three locations must be selected.")
    if any(not re.fullmatch(r"[a-z0-9_-]{0,63}", label) for label in wanted.get("userLabels", {}).values()):
        raise RefusedError(400, "Labels hold lower-case letters, numerals, underscores and dashes.")
    if wanted["monitoredResource"]["labels"].keys() != {"host", "project_id"}:
        raise RefusedError(400, "uptime_url has the labels host and project_id.")
    id = f"check-{cloud.tick()}"
    name = f"projects/{cloud.project}/uptimeCheckConfigs/{id}"
    return cloud.create(f"uptime/{id}", {**wanted, "name": name})


@plays("monitoring", "DELETE", "/v3/projects/{project}/uptimeCheckConfigs/{id}")
def delete_uptime_check(cloud: Cloud, request: Request, project: str, id: str) -> None:
    cloud.delete(f"uptime/{id}")


@plays("monitoring", "GET", "/v3/projects/{project}/timeSeries")
def time_series(cloud: Cloud, request: Request, project: str) -> Thing:
    """Return how often each revision that takes calls was called: `answers` says it, by the revision's name."""
    query = request.query
    asked = re.fullmatch(
        r'metric\.type="run\.googleapis\.com/request_count" AND resource\.type="cloud_run_revision"'
        r' AND resource\.labels\.location="[a-z0-9-]+" AND resource\.labels\.service_name=one_of\(([^)]+)\)',
        query["filter"],
    )
    if asked is None or query["interval.startTime"] >= query["interval.endTime"]:
        raise RefusedError(400, "the recorder counts the calls of services, in a time that has begun")
    for name in ("Aligner", "Reducer"):
        field = {"Aligner": "perSeriesAligner", "Reducer": "crossSeriesReducer"}[name]
        if query[f"aggregation.{field}"] not in enumerated("monitoring/v3", "Aggregation", field):
            raise RefusedError(400, f"there is no {name} {query[f'aggregation.{field}']}")
    series = []
    for name in re.findall(r'"([^"]+)"', asked[1]):
        routed = cloud.get(f"service/{name}")["status"]["traffic"]
        for revision in sorted({row["revisionName"] for row in routed if row.get("percent")}):
            series += [_counted(name, revision, kind, n) for kind, n in cloud.answers(revision).items()]
    return {"timeSeries": series}


def _counted(service: str, revision: str, kind: str, calls: int) -> Thing:
    return {
        "resource": {"labels": {"service_name": service, "revision_name": revision}},
        "metric": {"labels": {"response_code_class": kind}},
        "points": [{"value": {"int64Value": str(calls)}}],
    }


def _check_metrics(cloud: Cloud, text: str) -> None:
    for name in set(re.findall(r"logging\.googleapis\.com/user/([\w-]+)", text)):
        if f"metric/{name}" not in cloud.things:
            raise RefusedError(
                404, f"Cannot find metric that matches type logging.googleapis.com/user/{name}"
            )
        # "It can take up to 10 minutes for a metric that was just made": Cloud Logging, log-based metrics.
        cloud.check_known(
            f"metric/{name}",
            500,
            f"Cannot find metric that matches type logging.googleapis.com/user/{name}",
            404,
        )
