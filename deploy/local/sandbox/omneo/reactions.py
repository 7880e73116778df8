"""The things that an Omneo user sets up so that an event calls a target: targets and triggers. `delivery.py` fires
them.

Omneo's pages "Target" and "Trigger". A PUT changes only the fields it names.

Assumed (reactions-and-targets):
ids are numbers that count up; the argument of `target.send` that names the target may have any name, its value
is the target's handle; a template that cannot be parsed is refused; the actions known here are `target.send` (older
name `tsend`) and `filter`, and any other is refused, because the sandbox could not carry it out.
"""

from collections.abc import Callable, Mapping
from typing import Any

from deploy.local.sandbox.omneo.profiles import stamp
from deploy.local.sandbox.omneo.twig import TemplateFailedError, Twig

SEND = ("target.send", "tsend")
Errors = dict[str, list[str]]
Row = dict[str, Any]


class InvalidRowError(Exception):
    """The row cannot be kept; `errors` says why, by field."""

    def __init__(self, errors: Errors) -> None:
        super().__init__(f"The given data was invalid: {', '.join(errors)}.")
        self.errors = errors


class Rows:
    """One of Omneo's lists that users edit. Callers hold the lock of the service."""

    def __init__(
        self,
        empty: Row,
        check: Callable[[Row, list[Row]], Errors],
        clock: Callable[[], float],
        *,
        settle: Callable[[Row], Row] = dict,
    ) -> None:
        # The values of a new row, the faults of a row beside the others, and the kept form of a row.
        self._settle = settle
        self._empty = empty
        self._check = check
        self._clock = clock
        self._rows: dict[int, Row] = {}
        self._last = 0

    def all(self) -> list[Row]:
        """Return every row, oldest first."""
        return list(self._rows.values())

    def get(self, id: str) -> Row | None:
        """Return the row, None if there is none."""
        return self._rows.get(int(id)) if id.isdecimal() else None

    def create(self, body: Mapping[str, Any]) -> Row:
        """Keep a new row and return it.

        Raises:
            InvalidRowError: it cannot be kept.
        """
        row = self._checked({"id": self._last + 1, **self._empty, "created_at": stamp(self._clock())}, body)
        self._last = row["id"]
        return row

    def update(self, row: Row, body: Mapping[str, Any]) -> Row:
        """Change the fields named in `body` and return the row.

        Raises:
            InvalidRowError: it could not be kept like that.
        """
        return self._checked(row, body)

    def delete(self, row: Row) -> None:
        """Remove the row."""
        del self._rows[row["id"]]

    def _checked(self, row: Row, body: Mapping[str, Any]) -> Row:
        changes = {name: body[name] for name in self._empty if name in body}
        changed = {**row, **changes, "updated_at": stamp(self._clock())}
        others = [other for other in self._rows.values() if other["id"] != row["id"]]
        if errors := self._check(changed, others):
            raise InvalidRowError(errors)
        kept = self._settle(changed)
        self._rows[kept["id"]] = kept
        return kept


def targets(twig: Twig, clock: Callable[[], float]) -> Rows:
    """Return an empty list of targets."""

    def check(row: Row, others: list[Row]) -> Errors:
        errors = required(row, "name", "handle", "url", "template")
        if any(other["handle"] == row["handle"] for other in others):
            errors["handle"] = ["The handle has already been taken."]
        if "url" not in errors and not row["url"].startswith(("https://", "http://")):
            errors["url"] = ["The url format is invalid."]
        if "template" not in errors:
            try:
                twig.check(row["template"])
            except TemplateFailedError:
                errors["template"] = ["The template cannot be parsed."]
        return errors

    empty = dict.fromkeys(("name", "handle", "url", "template", "description", "notes", "condition"))
    return Rows(dict(empty), check, clock)


def triggers(clock: Callable[[], float]) -> Rows:
    """Return an empty list of triggers."""

    def check(row: Row, others: list[Row]) -> Errors:
        del others
        errors = required(row, "name", "trigger")
        if not isinstance(row["actions"], list):
            return errors | {"actions": ["The actions must be an array."]}
        for index, action in enumerate(row["actions"]):
            if action_name(action) not in (*SEND, "filter"):
                errors[f"actions.{index}.name"] = ["The selected name is invalid."]
            elif not _has_arguments(action):
                errors[f"actions.{index}.arguments"] = ["The arguments must be an array of name and value."]
            elif not isinstance(action.get("sort_order"), int | None):
                errors[f"actions.{index}.sort_order"] = ["The sort_order must be an integer."]
        return errors

    return Rows({"name": None, "trigger": None, "is_active": True, "actions": []}, check, clock)


def action_name(action: object) -> str:
    """Return the name of an action, which may be under several keys."""
    return str(action.get("name") or action.get("uuid") or "") if isinstance(action, Mapping) else ""


def argument_values(action: Mapping[str, Any], name: str | None = None) -> list[Any]:
    """Return the values of an action's arguments, or of those called `name`."""
    rows = action.get("arguments") or []
    return [row.get("value") for row in rows if name is None or row.get("name") == name]


def _has_arguments(action: Mapping[str, Any]) -> bool:
    rows = action.get("arguments")
    return isinstance(rows, list) and all(isinstance(row, dict) and "value" in row for row in rows)


def required(row: Row, *names: str) -> Errors:
    """Return an error for each of the fields that holds no text."""
    return {
        name: [f"The {name} field is required."]
        for name in names
        if not isinstance(row[name], str) or not row[name]
    }
