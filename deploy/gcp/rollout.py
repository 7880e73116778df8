"""Whether an upgrade that takes a share of the calls may take all: its answers, compared with those of the revision
before it.

Pure. Both take the same mix of calls at the same time, so an upgrade that answers 503 because Klaviyo does looks no
worse.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

METRIC = "run.googleapis.com/request_count"


class _Limit(NamedTuple):
    """The limit of errors: at least so many, and a share larger than twice the other revision's and so much more."""

    least: int
    more: float
    words: str


_LIMITS = {"5xx": _Limit(2, 0.02, "failed"), "4xx": _Limit(10, 0.1, "were refused")}

Counts = Mapping[str, int]


def question(services: Iterable[str], region: str) -> str:
    """Return the filter of Cloud Monitoring that finds how often the services were called."""
    named = ", ".join(f'"{service}"' for service in services)
    return (
        f'metric.type="{METRIC}" AND resource.type="cloud_run_revision"'
        f' AND resource.labels.location="{region}" AND resource.labels.service_name=one_of({named})'
    )


def counted(series: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Return how often each revision gave each class of answer, from the time series of Cloud Monitoring."""
    found: dict[str, dict[str, int]] = {}
    for one in series:
        revision = one["resource"]["labels"]["revision_name"]
        kind = one["metric"]["labels"]["response_code_class"]
        calls = sum(int(point["value"]["int64Value"]) for point in one.get("points", []))
        counts = found.setdefault(revision, {})
        counts[kind] = counts.get(kind, 0) + calls
    return found


def verdict(new: Counts, old: Counts) -> str:
    """Return the reason against the new revision, "" if there is none.

    A revision that got no calls did nothing wrong.
    """
    for kind, limit in _LIMITS.items():
        count, calls = new.get(kind, 0), sum(new.values())
        if count >= limit.least and count / calls > 2 * _share(kind, old) + limit.more:
            before = f"{old.get(kind, 0)} of {sum(old.values())}"
            return f"{count} of {calls} calls {limit.words}, of the revision before it {before}"
    return ""


def _share(kind: str, counts: Counts) -> float:
    calls = sum(counts.values())
    return counts.get(kind, 0) / calls if calls else 0.0
