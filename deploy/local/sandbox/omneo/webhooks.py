"""Omneo's webhooks: their fields, the rules for new ones, and the filters of their list. It delivers nothing.

Omneo's pages on webhooks and its SDK: trigger and url together are unique, a namespace is required, a queue that does not
exist becomes `low`. A PUT changes only the fields it names.

Assumed (webhooks-of-omneo, webhooks-by-namespace):
one that does not say is active, in the queue `default`, and not repeated; any text is a trigger; the url may be
http; `condition` is JSON Logic or a string of it; the clash of trigger and url is an error of `url`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from deploy.local.sandbox.omneo.reactions import Errors, Row, Rows, required

QUEUES = ("high", "default", "low")
FILTERS = ("namespace", "trigger", "is_active")
_FLAGS = ("is_active", "retry_hourly", "retry_daily")
_EMPTY: Row = {
    "trigger": None,
    "url": None,
    "namespace": None,
    "is_active": True,
    "queue": "default",
    "retry_hourly": False,
    "retry_daily": False,
    "condition": None,
}


def webhooks(clock: Callable[[], float]) -> Rows:
    """Return an empty list of webhooks."""
    return Rows(dict(_EMPTY), _check, clock, settle=_settle)


def filtered(rows: list[Row], filters: Mapping[str, str]) -> list[Row]:
    """Return the rows that every filter fits; `is_active` is 0 or 1."""
    wanted: dict[str, Any] = {**filters}
    if "is_active" in wanted:
        wanted["is_active"] = wanted["is_active"] == "1"
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def _check(row: Row, others: list[Row]) -> Errors:
    errors = required(row, "trigger", "url", "namespace")
    if "url" not in errors and not row["url"].startswith(("https://", "http://")):
        errors["url"] = ["The url format is invalid."]
    if any((other["trigger"], other["url"]) == (row["trigger"], row["url"]) for other in others):
        errors["url"] = ["The url has already been taken."]
    for name in _FLAGS:
        if row[name] not in (True, False):  # 0 and 1 among them, as Laravel has it
            errors[name] = [f"The {name} field must be true or false."]
    if not isinstance(row["condition"], dict | str | None):
        errors["condition"] = ["The condition must be JSON Logic."]
    return errors


def _settle(row: Row) -> Row:
    queue = row["queue"] if row["queue"] in QUEUES else "low"
    return {**row, **{name: bool(row[name]) for name in _FLAGS}, "queue": queue}
