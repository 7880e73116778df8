"""Traffic as CX Manager and operators read it, and the doctor's findings about it."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from shared.admin.findings import Finding, Severity
from shared.admin.moments import read_moment
from shared.errors import InvalidPayloadError
from shared.services import Services
from shared.tenants.tenants import Tenant
from shared.traffic.rules.counts import What
from shared.traffic.rules.report import report
from shared.traffic.rules.trouble import Trouble, troubles
from shared.traffic.traffic import KEPT, Traffic

_AGO = re.compile(r"(\d{1,4})([hd])")
_DEFAULT = "24h"
_MENDS = {
    "401": "Send the newest webhook secret in x-omneo-secret, or sign with the tenant's signing secret: `GET settings` shows when each was last used.",
    "409": "Install the app from Klaviyo's marketplace.",
    "429": "Raise reward_max_per_hour, or look at the flow that issues so many.",
    "503": "The caller repeats such calls; read the log if they do not end.",
}
_MEND = "Change what the caller sends as the reason says."
_SILENT = "Look in CX Manager whether the reaction or webhook that calls it is still enabled."


def traffic(tenant: Tenant, services: Services, query: Mapping[str, str]) -> dict[str, Any]:
    """Return the counts since a moment: `since` is like 24h, 7d, 2026-11-20 or a time with its zone.

    Each target has its total, and its counts for each hour, or for each day that ended more than a day ago.

    Raises:
        InvalidPayloadError: the query cannot be read.
    """
    now = services.clock()
    since = _since(query, now)
    counts = Traffic.of(services)
    counts.fold(tenant.name)
    spans = counts.spans(tenant.name, since)
    return {
        "tenant": tenant.name,
        "since": since.isoformat(timespec="seconds"),
        "until": now.isoformat(timespec="seconds"),
        "targets": report((span.at, span.table) for span in spans),
    }


def check(tenant: Tenant, services: Services) -> Iterator[Finding]:
    """Yield the troubles of the tenant's traffic, or else the amount of it since yesterday."""
    now, counts = services.clock(), Traffic.of(services)
    counts.fold(tenant.name)
    spans = [(span.at, span.table) for span in counts.spans(tenant.name, now - KEPT)]
    found = [*troubles(spans, now)]
    for trouble in found:
        severity = Severity.CRITICAL if trouble.is_dead else Severity.WARNING
        yield Finding("traffic", severity, trouble.message, _mend(trouble))
    if not found:
        accepted = [
            tally
            for at, table in spans
            for row, tally in table.items()
            if row.what is What.ACCEPTED and at > now - timedelta(days=1)
        ]
        number = sum(tally.count for tally in accepted)
        last = f", the last at {max(t.last for t in accepted):%Y-%m-%d %H:%M} UTC" if accepted else ""
        calls = "1 call" if number == 1 else f"{number:,} calls"
        yield Finding("traffic", Severity.OK, f"{calls} accepted since yesterday{last}; none refused.")


def _mend(trouble: Trouble) -> str:
    if not trouble.statuses:
        return _SILENT
    return " ".join(dict.fromkeys(_MENDS.get(status, _MEND) for status in sorted(trouble.statuses)))


def _since(query: Mapping[str, str], now: datetime) -> datetime:
    if query.keys() - {"since"}:
        raise InvalidPayloadError("The URL has a parameter that traffic does not know. It knows only since.")
    text = query.get("since", _DEFAULT).strip()
    if ago := _AGO.fullmatch(text):
        number = int(ago[1])
        return max(now - (timedelta(hours=number) if ago[2] == "h" else timedelta(days=number)), now - KEPT)
    since = read_moment(text)
    if since is None:
        raise InvalidPayloadError("since must be like 24h, 7d, 2026-11-20 or 2026-11-20T08:00:00Z.")
    return max(since, now - KEPT)
