"""A notification put into a tenant's Omneo: its target with the condition, and the reaction that calls it. To repeat it changes nothing.

A row is found again by the target's handle, so a name may be changed in CX Manager. Fields that the catalogue does not write stay as they
are there.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.targets.catalogue import Notification, Platform
from shared.omneo.client import OmneoClient
from shared.services import Services
from shared.tenants.tenants import Tenant

Row = dict[str, Any]
SEND = ("target.send", "tsend")


class OmneoRows(OmneoClient):
    """Omneo's targets and triggers, which only people and this command change."""

    def rows(self, kind: str) -> list[Row]:
        """Return all rows of "targets" or "triggers"."""
        # https://docs.omneo.io: api-reference/target and trigger
        return [row for row in self._rows(f"/api/v3/{kind}", {"page[size]": "100"}) if isinstance(row, dict)]

    def create(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Make a row."""
        self._call("POST", f"/api/v3/{kind}", body=fields)

    def update(self, kind: str, id: int, fields: Mapping[str, Any]) -> None:
        """Change fields of a row."""
        self._call("PUT", f"/api/v3/{kind}/{id}", body=fields)


def rows_of(services: Services, tenant: Tenant) -> OmneoRows:
    """Return the rows of a tenant's Omneo."""
    from shared.http.client import HttpClient, ShortWaits
    from shared.http.connections import Connections
    from shared.omneo.client import base_url, read_problem

    url = base_url(services.settings.omneo_api_url, tenant.name)
    http = HttpClient("Omneo", url, read_problem, Connections(), short_waits=ShortWaits(3))
    return OmneoRows(http, tenant.omneo_token)


@dataclass(frozen=True)
class Change:
    """The change of one row: `before` are the fields as they are, None for a row that is new."""

    kind: str
    id: int
    before: Row | None
    after: Row

    @property
    def is_needed(self) -> bool:
        """Whether anything differs."""
        return self.before != self.after

    def diff(self) -> str:
        """Return the differences, in the form of `diff -u`."""
        name = f"{self.kind[:-1]} {self.after['name']}"
        lines = difflib.unified_diff(
            _lines(self.before),
            _lines(self.after),
            f"{name} in Omneo",
            f"{name} in the catalogue",
            lineterm="",
        )
        return "\n".join(lines)


def changes(
    omneo: OmneoRows, platform: Platform, notification: Notification, *, url: str, template: str
) -> list[Change]:
    """Return the changes of a push, the target first.

    Raises:
        ServiceError: Omneo does not list its targets and reactions.
    """
    handle = handle_of(platform, notification)
    condition = notification.condition(platform)
    target = {
        "name": f"{platform.title}: {notification.title}",
        "handle": handle,
        "url": url,
        "template": template,
        "condition": json.dumps(condition),
    }
    found = next(iter(_targets(omneo, handle)), None)
    planned = [_change("targets", found, target)]
    if notification.trigger:
        trigger = {
            "name": f"{platform.title}: {notification.title}",
            "trigger": notification.trigger,
            "is_active": True,
            "actions": [
                _action("filter", 0, "condition", condition),
                _action("target.send", 1, "target", handle),
            ],
        }
        # A merchant may have others that call it; ours is the one of the same event.
        callers = sorted(_callers(omneo, handle), key=lambda row: row.get("trigger") != notification.trigger)
        calling = next(iter(callers), None)
        planned.append(_change("triggers", calling, trigger))
    return planned


def more_than_one(omneo: OmneoRows, handle: str) -> list[str]:
    """Return the objects that Omneo has more than once: each further reaction that calls the target sends one more message."""
    says = []
    if len(rows := _targets(omneo, handle)) > 1:
        says.append(
            f"{len(rows)} targets have the handle {handle}: {_named(rows)}. Delete all but one in CX Manager."
        )
    if len(rows := _callers(omneo, handle)) > 1:
        says.append(f"{len(rows)} reactions call {handle}, and each of them sends: {_named(rows)}.")
    return says


def carry_out(omneo: OmneoRows, planned: list[Change]) -> None:
    """Make the changes that are needed."""
    for change in planned:
        if change.before is None:
            omneo.create(change.kind, change.after)
        elif change.is_needed:
            omneo.update(change.kind, change.id, change.after)


def handle_of(platform: Platform, notification: Notification) -> str:
    """Return the handle by which the target is found again."""
    return f"{platform.name}-{notification.name}"


def _targets(omneo: OmneoRows, handle: str) -> list[Row]:
    return [row for row in omneo.rows("targets") if row.get("handle") == handle]


def _callers(omneo: OmneoRows, handle: str) -> list[Row]:
    return [row for row in omneo.rows("triggers") if handle in _called_by(row)]


def _named(rows: list[Row]) -> str:
    return ", ".join(f"{row.get('name')} (id {row.get('id')})" for row in rows)


def _change(kind: str, found: Row | None, wanted: Row) -> Change:
    if found is None:
        return Change(kind, 0, None, wanted)
    before: Row = {name: _plain(name, found.get(name)) for name in wanted}
    # A name and whether it is on are the merchant's once the row is there.
    after = wanted | {name: before[name] for name in ("name", "is_active") if name in before}
    if _is_same_logic(before, after):
        after["condition"] = before["condition"]
    return Change(kind, int(found["id"]), before, after)


def _is_same_logic(before: Row, after: Row) -> bool:
    """Return whether two conditions say the same, however they are written."""
    if "condition" not in after:
        return False
    try:
        return bool(json.loads(before["condition"] or "null") == json.loads(after["condition"]))
    except (TypeError, ValueError):
        return False


def _plain(name: str, value: Any) -> Any:
    if name != "actions" or not isinstance(value, list):
        return value
    return [_plain_action(action) for action in value if isinstance(action, dict)]


def _plain_action(action: Mapping[str, Any]) -> Row:
    """Return an action with only the fields that this module writes; Omneo keeps further ones with it."""
    arguments = action.get("arguments") or []
    rows = [row for row in arguments if isinstance(row, dict)]
    return {
        "name": str(action.get("name") or action.get("uuid") or ""),
        "sort_order": action.get("sort_order"),
        "arguments": [{key: row.get(key) for key in ("name", "value", "is_dynamic")} for row in rows],
    }


def _action(name: str, place: int, argument: str, value: Any) -> Row:
    return {
        "name": name,
        "sort_order": place,
        "arguments": [{"name": argument, "value": value, "is_dynamic": None}],
    }


def _called_by(trigger: Row) -> set[str]:
    actions = [_plain_action(action) for action in trigger.get("actions") or [] if isinstance(action, dict)]
    return {str(row["value"]) for action in actions if action["name"] in SEND for row in action["arguments"]}


def _lines(row: Row | None) -> list[str]:
    if row is None:
        return []
    found: list[str] = []
    for name, value in row.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2)
        found += [f"{name}:", *(f"  {line}" for line in text.splitlines())]
    return found
