"""Trouble in a tenant's traffic: calls that are refused, and silence where there was traffic. Pure.

A target is silent when it accepted no call for two days, but accepted calls on three days of the week before. A shop that sends once a month is
not silent.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.traffic.rules.counts import Row, Table, Tally, What, merged

RECENT = timedelta(days=1)
NEWS = timedelta(minutes=65)  # looks are an hour apart, to some minutes
SILENT_AFTER = timedelta(days=2)
LOOKS_BACK = timedelta(days=7)
BUSY_DAYS = 3
MANY = 10  # so many refusals are no accident
_REASONS_TOLD = 2
_NO_TARGET = "admin"  # an earlier release counted its refusals, and never what it accepted


@dataclass(frozen=True)
class Trouble:
    """One target's trouble, in plain words. `is_dead`: many calls come, and every one is refused. `statuses` are theirs.

    `accepted_at` and `refused_at` are the last times, None if there was none; for refusals only since yesterday.
    """

    target: str
    message: str
    is_dead: bool
    statuses: frozenset[str]
    accepted_at: datetime | None
    refused_at: datetime | None

    def is_news(self, now: datetime) -> bool:
        """Return whether the message of this hour should tell of it; messages go out in the first minutes of an hour.

        Refusals are news for an hour. Silence is news in the hour in which it is found, and then once a day.
        """
        if self.refused_at is not None:
            return now - self.refused_at <= NEWS
        return self.accepted_at is not None and (now - self.accepted_at) % RECENT <= NEWS

    def day_of_silence(self, now: datetime) -> str:
        """Return a name for the present day of the silence, "" for refusals: two checks on one day may both find news in it."""
        if self.refused_at is not None or self.accepted_at is None:
            return ""
        return f"{(now - self.accepted_at) // RECENT} days after {self.accepted_at.isoformat()}"


def troubles(spans: Iterable[tuple[datetime, Table]], now: datetime) -> Iterator[Trouble]:
    """Yield the troubles of a tenant. `spans` cover the last five weeks, each with the start of its hour or day."""
    parts = [*spans]
    for target in sorted({row.target for _, table in parts for row in table} - {_NO_TARGET}):
        accepted = _accepted(parts, target)
        last = max((tally.last for _, tally in accepted), default=None)
        refused = _refused(parts, target, now - RECENT)
        is_quiet = last is None or now - last >= RECENT
        silence = _silence(target, last, now, accepted, refused)
        message = "; ".join(filter(None, (silence, _refusals("" if silence else target, refused))))
        if message:
            statuses = frozenset(row.reason[:3] for row in refused)
            is_dead = is_quiet and sum(tally.count for tally in refused.values()) >= MANY
            refused_at = max((tally.last for tally in refused.values()), default=None)
            yield Trouble(target, f"{message}.", is_dead, statuses, last, refused_at)


def _silence(
    target: str,
    last: datetime | None,
    now: datetime,
    accepted: list[tuple[datetime, Tally]],
    refused: Table,
) -> str:
    if last is None:
        return f"No call of {target} was accepted in five weeks" if refused else ""
    since = now - last
    busy = {tally.last.date() for _, tally in accepted if last - tally.last < LOOKS_BACK}
    if since >= SILENT_AFTER and (len(busy) >= BUSY_DAYS or refused):
        return f"No call of {target} accepted for {since.days} days"
    if since >= RECENT and refused:
        return f"No call of {target} accepted since yesterday"
    return ""


def _refusals(target: str, refused: Table) -> str:
    """Return the refusals and their reasons as a sentence about `target`, or without the target's name if it is ""."""
    if not refused:
        return ""
    count = sum(tally.count for tally in refused.values())
    number = f"{count:,}" + (f" {'call' if count == 1 else 'calls'} of {target}" if target else "")
    often = sorted(refused.items(), key=lambda one: (-one[1].count, one[0].reason))
    if len(often) == 1:
        return f"{number} refused since yesterday: {often[0][0].reason}"
    named = ", and ".join(f"{tally.count:,} with {row.reason}" for row, tally in often[:_REASONS_TOLD])
    return f"{number} refused since yesterday, {named}"


def _accepted(parts: Iterable[tuple[datetime, Table]], target: str) -> list[tuple[datetime, Tally]]:
    return [
        (at, tally)
        for at, table in parts
        for row, tally in table.items()
        if row.target == target and row.what is What.ACCEPTED
    ]


def _refused(parts: Iterable[tuple[datetime, Table]], target: str, since: datetime) -> dict[Row, Tally]:
    """Return the refusals since the hour of that moment, by their reasons."""
    return merged(
        {Row(target, What.REFUSED, reason=row.reason): tally}
        for at, table in parts
        for row, tally in table.items()
        if row.target == target and row.what is What.REFUSED and tally.last >= since
    )
