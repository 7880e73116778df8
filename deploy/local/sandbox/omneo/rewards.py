"""Omneo's rewards and their definitions: the kept fields, the refusals, and the shown form. No HTTP, no credentials.

Omneo's pages "Add reward" and "Importing rewards" and its SDK: times come in as local times of `timezone` and go out in UTC, with
the local ones beside them; `external_id` is taken and never shown, `meta` is shown; `reward_definition_handle` may stand for the id.

Assumed (repeated-external-id, rewards-as-shown):
- A repeated `external_id` is 422 naming it; by a switch 409, or a second reward.
- Numbers are shown as numbers; by a switch as text with two decimals. An empty `meta` is shown as `[]`.
- Values are above zero; a reward expires after it is issued; a field that is not known is ignored.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from deploy.local.sandbox.omneo.profiles import stamp
from deploy.local.sandbox.omneo.reactions import Errors, Row

Repeated = Literal["422", "409", "creates"]
REPEATED: tuple[str, ...] = get_args(Repeated)
_FORMAT = "%Y-%m-%d %H:%M:%S"
_VALUES = ("value_initial", "value_remaining")


class RewardRefusedError(Exception):
    """The reward is not made: `errors` by field, or none for a conflict."""

    def __init__(self, errors: Errors) -> None:
        super().__init__("The given data was invalid.")
        self.errors = errors


@dataclass
class Rewards:
    """The rewards and definitions of one tenant, oldest first. Callers hold the lock of the service."""

    repeated_external_id: Repeated = "422"
    numbers_as_text: bool = False
    definitions: dict[int, Row] = field(default_factory=dict)
    _rows: dict[int, Row] = field(default_factory=dict)
    _external_ids: dict[int, str | None] = field(default_factory=dict)

    def define(self, fields: Mapping[str, Any]) -> Row:
        """Keep a definition and return it."""
        id = fields.get("id") or max(self.definitions, default=0) + 1
        self.definitions[id] = {
            "name": f"Reward {id}",
            "handle": f"reward-{id}",
            "period": None,
            "period_type": None,
            "absolute_expiry": None,
            "region": None,
            "currency": None,
            **fields,
            "id": id,
        }
        return self.definitions[id]

    def definition(self, id: str) -> Row | None:
        """Return a definition, None if there is none."""
        return self.definitions.get(int(id)) if id.isdecimal() else None

    def create(self, body: Mapping[str, Any], profiles: Container[object], now: float) -> Row:
        """Keep a reward and return it as the API shows it.

        Raises:
            RewardRefusedError: it cannot be kept.
        """
        definition = self._wanted(body)
        errors = _errors(body, profiles, now)
        if definition is None:
            errors["reward_definition_id"] = ["The selected reward definition id is invalid."]
        external_id = body.get("external_id")
        is_repeated = external_id is not None and external_id in map(self._external_ids.get, self._rows)
        if is_repeated and self.repeated_external_id == "422":
            errors["external_id"] = ["The external id has already been taken."]
        if errors or definition is None:
            raise RewardRefusedError(errors)
        if is_repeated and self.repeated_external_id == "409":
            raise RewardRefusedError({})
        id = len(self._external_ids) + 1
        self._rows[id] = _row(id, body, definition, now)
        self._external_ids[id] = external_id
        return self._shown(self._rows[id])

    def of_profile(self, profile_id: str | None) -> list[Row]:
        """Return the rewards of a profile, or all, as the API shows them."""
        rows = self._rows.values()
        return [self._shown(row) for row in rows if profile_id in (None, row["profile_id"])]

    def without_meta(self, profile_id: str | None) -> list[Row]:
        """Return the same as Omneo would list them that kept an `external_id`, and no `meta`."""
        return [
            {**row, "meta": [], "external_id": self._external_ids[row["id"]]}
            for row in self.of_profile(profile_id)
        ]

    def get(self, id: str) -> Row | None:
        """Return a reward as the API shows it, None if there is none."""
        row = self._rows.get(int(id)) if id.isdecimal() else None
        return None if row is None else self._shown(row)

    def remove(self, id: str) -> bool:
        """Take a reward away, and its `external_id` with it; return whether there was one."""
        return id.isdecimal() and self._rows.pop(int(id), None) is not None

    def all(self) -> list[Row]:
        """Return every reward with its `external_id`, for a test to look at."""
        return [{**row, "external_id": self._external_ids[id]} for id, row in self._rows.items()]

    def _wanted(self, body: Mapping[str, Any]) -> Row | None:
        if (id := body.get("reward_definition_id")) is not None:
            return self.definition(str(id))
        handle = body.get("reward_definition_handle")
        return next((row for row in self.definitions.values() if row["handle"] == handle), None)

    def _shown(self, row: Row) -> Row:
        if not self.numbers_as_text:
            return row
        return {**row, "id": str(row["id"]), **{name: f"{row[name]:.2f}" for name in _VALUES}}


def _errors(body: Mapping[str, Any], profiles: Container[object], now: float) -> Errors:
    zone = _zone(body.get("timezone"))
    expires = _moment(body.get("expires_at"), zone)
    wrong = {
        "profile_id": (body.get("profile_id") not in profiles, "The selected profile id is invalid."),
        "timezone": (zone is None, "The timezone must be a valid zone."),
        "expires_at": (
            expires is None or expires.timestamp() <= now,
            "The expires_at must be in the format Y-m-d H:i:s, and after issued_at.",
        ),
        "issued_at": (
            body.get("issued_at") is not None and _moment(body["issued_at"], zone) is None,
            "The issued_at does not match the format Y-m-d H:i:s.",
        ),
        "external_id": (
            not isinstance(body.get("external_id"), str | None),
            "The external_id must be a string.",
        ),
        "meta": (not isinstance(body.get("meta"), dict | list | None), "The meta must be an array."),
        **{name: (not _is_positive(body.get(name)), f"The {name} must be above 0.") for name in _VALUES},
    }
    return {name: [message] for name, (is_wrong, message) in wrong.items() if is_wrong}


def _row(id: int, body: Mapping[str, Any], definition: Row, now: float) -> Row:
    zone = ZoneInfo(body["timezone"])
    issued = _moment(body.get("issued_at"), zone) or datetime.fromtimestamp(now, UTC)
    expires = _moment(body["expires_at"], zone) or issued
    return {
        "id": id,
        "profile_id": body["profile_id"],
        "timezone": body["timezone"],
        "value_initial": float(body["value_initial"]),
        "value_remaining": float(body["value_remaining"]),
        "issued_at": issued.astimezone(UTC).strftime(_FORMAT),
        "expires_at": expires.astimezone(UTC).strftime(_FORMAT),
        "issued_local_at": issued.astimezone(zone).strftime(_FORMAT),
        "expires_local_at": expires.astimezone(zone).strftime(_FORMAT),
        "is_expired": False,
        "is_active": True,
        "extended_at": None,
        "definition": dict(definition),
        "meta": body.get("meta") or [],
        "created_at": stamp(now),
        "updated_at": stamp(now),
    }


def _is_positive(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        return float(value) > 0
    except ValueError:
        return False


def _zone(name: object) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if isinstance(name, str) else None
    except (OSError, ValueError, KeyError):
        return None


def _moment(text: object, zone: ZoneInfo | None) -> datetime | None:
    try:
        return datetime.strptime(str(text), _FORMAT).replace(tzinfo=zone or UTC)
    except ValueError:
        return None
