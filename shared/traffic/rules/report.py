"""Counts as a report: by target and metric, each kind with its number and its last time, refusals by their reasons. Pure."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from shared.traffic.rules.counts import Row, Table, Tally, What, merged

Json = dict[str, Any]
_REST = (What.ACCEPTED, What.REFUSED, What.DELIVERED, What.WAITING, What.DEAD)


def report(spans: Iterable[tuple[datetime, Table]]) -> list[Json]:
    """Return one object for each target and metric, with its total and its counts in each span."""
    parts = [*spans]
    whole = merged(table for _, table in parts)
    return [
        {
            "target": target,
            "metric": metric,
            **_counted(whole, _of(target, metric)),
            "times": [
                {"at": _iso(at), **_numbers(table, _of(target, metric))}
                for at, table in parts
                if any(map(_of(target, metric), table))
            ],
        }
        for target, metric in sorted({(row.target, row.metric) for row in whole})
    ]


def _of(target: str, metric: str) -> Callable[[Row], bool]:
    return lambda row: (row.target, row.metric) == (target, metric)


def _counted(table: Table, is_ours: Callable[[Row], bool]) -> Json:
    told: Json = {}
    for what in _REST:
        found = [tally for row, tally in table.items() if row.what is what and is_ours(row)]
        told[what.value] = {"count": _sum(found), "last_at": _last(found)}
    refusals = {
        row.reason: tally for row, tally in table.items() if row.what is What.REFUSED and is_ours(row)
    }
    told["refused"]["reasons"] = [
        {"reason": reason, "count": tally.count, "last_at": _iso(tally.last)}
        for reason, tally in sorted(refusals.items(), key=lambda one: (-one[1].count, one[0]))
    ]
    return told


def _numbers(table: Table, is_ours: Callable[[Row], bool]) -> Mapping[str, int]:
    return {
        what.value: _sum(tally for row, tally in table.items() if row.what is what and is_ours(row))
        for what in _REST
    }


def _sum(tallies: Iterable[Tally]) -> int:
    return sum(tally.count for tally in tallies)


def _last(tallies: Iterable[Tally]) -> str | None:
    return max((_iso(tally.last) for tally in tallies), default=None)


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
