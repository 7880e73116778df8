"""The changes of consent, and the interactions, that Omneo accepts. It finds problems and makes rows; the caller is
already authenticated.

Omneo's pages "Profile comms attribute", "Email and mobile consent" and "Interactions", and the types of its SDK.

Assumed (comms-fields, interaction-fields, equal-interactions-are-two):
- A comms field that the page does not name is refused, as is a flag that is neither true, false nor null; 0 and 1 pass for false and true.
- A stamp is taken as `Y-m-d H:i:s` or ISO 8601 and kept as the former, in UTC.
- Two interactions that are alike are two: nothing about a key is documented.
- `interacted_at` is now if it is left out. `identifier` names the profile as `{id, handle}` or as text, which is the profile's id.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from deploy.local.sandbox.omneo.profiles import COMMS_FLAGS, COMMS_STAMPS, stamp
from deploy.local.sandbox.omneo.reactions import Errors, Row

ACTIONS = ("broadcast", "disclose", "feedback", "product", "reach", "refer", "service", "visit", "view")
CHANNELS = ("app", "email", "location", "push", "sms", "social", "support", "website")
SIGNALS = (1, 0, -1)
_OPTIONAL = (
    "description", "url", "duration", "latitude", "longitude", "tags", "meta", "location_id", "product_id", "staff_id",
    "product_category_id", "product_variant_id",
)  # fmt: skip
_TEXTS = ("name", "namespace")


def comms_errors(fields: Mapping[str, Any]) -> Errors:
    """Return the faults of a change of comms, by field."""
    errors: Errors = {}
    for name, value in fields.items():
        if name in COMMS_FLAGS:
            if value not in (True, False, None):
                errors[name] = [f"The {name} field must be true or false."]
        elif name in COMMS_STAMPS:
            if value is not None and _time(value) is None:
                errors[name] = [f"The {name} is not a valid date."]
        else:
            errors[name] = [f"The {name} field is unknown."]
    return errors


def change_comms(comms: dict[str, Any], fields: Mapping[str, Any]) -> None:
    """Make an acceptable change."""
    for name, value in fields.items():
        if name in COMMS_STAMPS:
            time = _time(value)
            comms[name] = None if time is None else stamp(time.timestamp())
        else:
            comms[name] = None if value is None else bool(value)


def interaction_errors(fields: Mapping[str, Any]) -> Errors:
    """Return the faults of a new interaction, by field, without a check of its profile."""
    errors: Errors = {}
    for name in _TEXTS:
        if not isinstance(fields.get(name), str) or not fields[name]:
            errors[name] = [f"The {name} field is required."]
    for name, allowed in (("action", ACTIONS), ("channel", CHANNELS), ("signal", SIGNALS)):
        value = fields.get(name)
        if value is None:
            errors[name] = [f"The {name} field is required."]
        elif isinstance(value, bool) or value not in allowed:
            errors[name] = [f"The selected {name} is invalid."]
    if not (fields.get("profile_id") or fields.get("identifier")):
        errors["profile_id"] = ["The profile_id field is required when identifier is not present."]
    if fields.get("interacted_at") is not None and _time(fields["interacted_at"]) is None:
        errors["interacted_at"] = ["The interacted_at is not a valid date."]
    if not isinstance(fields.get("meta"), dict | list | None):
        errors["meta"] = ["The meta must be an array."]
    return errors


def new_interaction(number: int, profile_id: str, fields: Mapping[str, Any], now: float) -> Row:
    """Return the row of an acceptable interaction."""
    at = _time(fields.get("interacted_at"))
    return {
        "id": number,
        "profile_id": profile_id,
        **{name: fields[name] for name in ("action", "channel", "signal", *_TEXTS)},
        **{name: fields.get(name) for name in _OPTIONAL},
        "interacted_at": stamp(now if at is None else at.timestamp()),
        "created_at": stamp(now),
        "updated_at": stamp(now),
    }


def _time(value: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
        if time is None:
            return None
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
