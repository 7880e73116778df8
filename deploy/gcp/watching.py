"""Turns watching.yaml into log-based metrics of Cloud Logging, and a dashboard and alert policies of Cloud Monitoring."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from deploy.gcp import naming

Described = dict[str, Any]

_PREFIX = "extension_"
_OURS = 'resource.type="cloud_run_revision"'
_FIVE_MINUTES = "300s"
_RUNBOOK = "deploy/RUNBOOK.md"
_ALIGNERS = {
    "rate": "ALIGN_RATE",
    "count": "ALIGN_DELTA",
    "largest": "ALIGN_MAX",
    "failing": "ALIGN_NEXT_OLDER",
    "p50": "ALIGN_DELTA",
    "p95": "ALIGN_DELTA",
    "p99": "ALIGN_DELTA",
}
_REDUCERS = {
    "rate": "REDUCE_SUM",
    "count": "REDUCE_SUM",
    "largest": "REDUCE_MAX",
    "failing": "REDUCE_COUNT_FALSE",
    "p50": "REDUCE_PERCENTILE_50",
    "p95": "REDUCE_PERCENTILE_95",
    "p99": "REDUCE_PERCENTILE_99",
}


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Metric(_Row):
    """A log-based metric. `labels` gives each label its field, or field and pattern."""

    about: str
    lines: str
    value: str = ""
    labels: dict[str, str | tuple[str, str]]

    @property
    def filter(self) -> str:
        """Return the filter of Cloud Logging that finds the lines."""
        return f"{_OURS} AND {self.lines}"


class Chart(_Row):
    """One chart: its metric, its filter, its form, and one line for each value of `by`."""

    title: str
    metric: str
    resource: str = "cloud_run_revision"
    where: str = ""
    show: Annotated[str, Field(pattern="^(rate|count|largest|failing|p50|p95|p99)$")]
    by: tuple[str, ...]


class Alert(Chart):
    """An alert: `above` so much for so many minutes, or `absent` for so many."""

    above: float | None = None
    absent: int | None = None
    minutes: int = Field(default=0, alias="for")
    severity: str


class Uptime(_Row):
    """The check of the public name from outside: every so many minutes, from each of the regions, within so many seconds."""

    path: str = Field(pattern="^/")
    status: int
    period: Literal[1, 5, 10, 15] = Field(alias="every")
    timeout: int = Field(ge=1, le=60)
    regions: tuple[str, ...] = Field(min_length=3)


class Watching(_Row):
    """All of watching.yaml."""

    uptime: Uptime

    metrics: dict[str, Metric]
    charts: tuple[Chart, ...]
    alerts: dict[str, Alert]


def load() -> Watching:
    """Return the content of watching.yaml."""
    path = Path(__file__).with_name("watching.yaml")
    return Watching.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def log_metric(name: str, metric: Metric) -> Described:
    """Return the metric as `gcloud logging metrics create --config-from-file` takes it."""
    described: Described = {
        "name": _PREFIX + name,
        "filter": metric.filter,
        "labelExtractors": {label: _extractor(field) for label, field in metric.labels.items()},
        "metricDescriptor": {
            "metricKind": "DELTA",
            "valueType": "DISTRIBUTION" if metric.value else "INT64",
            "unit": "s" if metric.value else "1",
            "labels": [{"key": label, "valueType": "STRING"} for label in metric.labels],
        },
    }
    if metric.value:
        described["valueExtractor"] = f"EXTRACT({metric.value})"
        # From a millisecond to over a day, each bucket half as large again as the one before.
        buckets = {"numFiniteBuckets": 46, "growthFactor": 1.5, "scale": 0.001}
        described["bucketOptions"] = {"exponentialBuckets": buckets}
    mark = naming.fingerprint(json.dumps(described, sort_keys=True))
    return {**described, "description": f"{metric.about} ({mark})"}


def _extractor(field: str | tuple[str, str]) -> str:
    return f"EXTRACT({field})" if isinstance(field, str) else f'REGEXP_EXTRACT({field[0]}, "{field[1]}")'


def dashboard(watching: Watching) -> Described:
    """Return the dashboard; its only label is its fingerprint."""
    widgets = [
        {
            "title": chart.title,
            "xyChart": {
                "dataSets": [{"plotType": "LINE", "timeSeriesQuery": {"timeSeriesFilter": _query(chart)}}],
                "yAxis": {"scale": "LINEAR"},
            },
        }
        for chart in watching.charts
    ]
    described = {
        "displayName": "Omneo Klaviyo extension",
        "gridLayout": {"columns": "2", "widgets": widgets},
    }
    return {**described, "labels": {naming.fingerprint(json.dumps(described, sort_keys=True)): ""}}


def alert_policy(name: str, alert: Alert, hosts: Sequence[str] = ()) -> Described:
    """Return the policy; its labels say which of ours it is, and carry its fingerprint. `hosts` are the public names."""
    query = _query(alert, hosts)
    condition: Described = {"filter": query["filter"], "aggregations": [query["aggregation"]]}
    if alert.absent is not None:
        kind = "conditionAbsent"
        condition["duration"] = f"{alert.absent * 60}s"
    else:
        kind = "conditionThreshold"
        condition |= {
            "comparison": "COMPARISON_GT",
            "thresholdValue": alert.above,
            "duration": f"{alert.minutes * 60}s",
            "trigger": {"count": 1},
        }
    described: Described = {
        "displayName": alert.title,
        "combiner": "OR",
        "severity": alert.severity,
        "documentation": {"mimeType": "text/markdown", "content": f"See {name} in {_RUNBOOK}."},
        "conditions": [{"displayName": alert.title, kind: condition}],
        "alertStrategy": {"autoClose": "86400s"},
    }
    mark = naming.fingerprint(json.dumps(described, sort_keys=True))
    return {**described, "userLabels": {"alert": name, "fingerprint": mark}}


def uptime_check(uptime: Uptime, host: str) -> list[str]:
    """Return the check of a public name as the script's row: the values of gcloud's flags, then a fingerprint."""
    row = [
        host,
        uptime.path,
        str(uptime.status),
        str(uptime.period),
        str(uptime.timeout),
        ",".join(uptime.regions),
    ]
    return [*row, naming.fingerprint(*row)]


def _query(chart: Chart, hosts: Sequence[str] = ()) -> Described:
    own = "/" not in chart.metric
    kind = f"logging.googleapis.com/user/{_PREFIX}{chart.metric}" if own else chart.metric
    named = ", ".join(f'"{host}"' for host in hosts)
    where = chart.where.replace("{hosts}", f"one_of({named})")
    parts = [f'metric.type="{kind}"', f'resource.type="{chart.resource}"', where]
    labels = [
        f"resource.label.{by[9:]}" if by.startswith("resource.") else f"metric.label.{by}" for by in chart.by
    ]
    return {
        "filter": " AND ".join(part for part in parts if part),
        "aggregation": {
            "alignmentPeriod": _FIVE_MINUTES,
            "perSeriesAligner": _ALIGNERS[chart.show],
            "crossSeriesReducer": _REDUCERS[chart.show],
            "groupByFields": labels,
        },
    }


def write(work: Path, project: str, hosts: Sequence[str]) -> None:
    """Write one file for each metric and alert and one for the dashboard, and the lists of their names and fingerprints.

    `hosts` are the public names that serve; each has an uptime check.
    """
    watching = load()
    metrics = {_PREFIX + name: log_metric(name, row) for name, row in watching.metrics.items()}
    alerts = {name: alert_policy(name, alert, hosts) for name, alert in watching.alerts.items()}
    board = dashboard(watching)
    for kind, things in (("metric", metrics), ("alert", alerts)):
        for name, thing in things.items():
            (work / f"{kind}-{name}.json").write_text(json.dumps(thing, indent=2), encoding="utf-8")
    (work / "dashboard.json").write_text(
        json.dumps({**board, "name": f"projects/{project}/dashboards/extension"}), encoding="utf-8"
    )
    (work / "dashboard-fingerprint").write_text(next(iter(board["labels"])), encoding="utf-8")
    marks = {name: metric["description"].rpartition("(")[2].rstrip(")") for name, metric in metrics.items()}
    (work / "metrics").write_text(
        "".join(f"{name}\t{mark}\n" for name, mark in marks.items()), encoding="utf-8"
    )
    rows = "".join(f"{name}\t{alert['userLabels']['fingerprint']}\n" for name, alert in alerts.items())
    (work / "alerts").write_text(rows, encoding="utf-8")
    checks = [uptime_check(watching.uptime, host) for host in hosts if host]
    (work / "uptime-checks").write_text("".join("\t".join(row) + "\n" for row in checks), encoding="utf-8")
