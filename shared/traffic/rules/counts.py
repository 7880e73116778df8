"""Tables of counts: for each row the number, and the last time. Pure.

A table is bounded, because callers name metrics and refusals have reasons: beyond `MOST_ROWS` rows, all new rows count together as `OTHERS`.
"""

import re
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

METRIC, RECORDS = "metric", "data-source-record"  # targets whose jobs count under the name of the target
MOST_ROWS = 150
OTHERS = "(others)"
UNSHOWN = "(not shown)"
LONGEST_NAME = 128
LONGEST_REASON = 200
# An email, or as many digits as a phone number has: it may be personal, and is no name of a metric.
_PERSONAL = re.compile(r"@|(?:\d[\s().-]*){7}")


class What(StrEnum):
    """The kind of a count."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    DELIVERED = "delivered"
    WAITING = "waiting"
    DEAD = "dead"


@dataclass(frozen=True)
class Row:
    """A row of a table: the calls or jobs that count together. `metric` is the metric's name, or the data source's, "" where there is
    none; `reason` is of refusals.
    """

    target: str
    what: What
    metric: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Tally:
    """The number, and the last time."""

    count: int
    last: datetime


Table: TypeAlias = Mapping[Row, Tally]


def name_shown(name: str) -> str:
    """Return the name of a metric as it is counted and logged. A name that could be an address or a phone number is not shown.

    >>> name_shown("Placed Order"), name_shown("jane@example.org"), name_shown("0400 123 456")
    ('Placed Order', '(not shown)', '(not shown)')
    """
    name = name.strip()[:LONGEST_NAME]
    return UNSHOWN if _PERSONAL.search(name) or not name.isprintable() else name


def message_shown(message: str) -> str:
    """Return a refusal's message as it is counted and logged. A message that may hold something personal is not shown."""
    return UNSHOWN if _PERSONAL.search(message) or not message.isprintable() else message[:LONGEST_REASON]


def reason_shown(status: int, message: str) -> str:
    """Return the reason of a refusal as it is counted.

    >>> reason_shown(401, "x-omneo-secret is wrong.")
    '401, x-omneo-secret is wrong'
    """
    return f"{status}, {message_shown(message).rstrip('.')}"


def add(table: MutableMapping[Row, Tally], row: Row, tally: Tally) -> None:
    """Count in the table. It has at most `MOST_ROWS` rows, and one more for the others of each target and kind of count."""
    if row not in table and len(table) >= MOST_ROWS:
        row = Row(row.target, row.what, metric=OTHERS, reason=row.reason and OTHERS)
    before = table.get(row)
    table[row] = Tally(before.count + tally.count, max(before.last, tally.last)) if before else tally


def merged(tables: Iterable[Table]) -> dict[Row, Tally]:
    """Return all tables as one."""
    whole: dict[Row, Tally] = {}
    for table in tables:
        for row, tally in table.items():
            add(whole, row, tally)
    return whole


def encoded(table: Table) -> list[Any]:
    """Return a table as the store keeps it."""
    return [
        {
            "target": row.target,
            "metric": row.metric,
            "what": row.what.value,
            "reason": row.reason,
            "count": tally.count,
            "last": tally.last,
        }
        for row, tally in table.items()
    ]


def decoded(rows: object) -> dict[Row, Tally]:
    """Return a table that the store has kept. Counts that only a newer revision knows are left out."""
    table: dict[Row, Tally] = {}
    for row in rows if isinstance(rows, list) else ():
        match row:
            case {"target": str(target), "what": what, "count": int(count), "last": datetime() as last} if (
                what in list(What)
            ):
                kept = Row(target, What(what), str(row.get("metric", "")), str(row.get("reason", "")))
                add(table, kept, Tally(count, last))
    return table
