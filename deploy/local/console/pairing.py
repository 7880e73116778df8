"""Finds the Klaviyo profile and the Omneo profile of one person, and the values of both that a page shows. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]
IDENTITY = "klaviyo"
_CHANNELS = (("email", "Email"), ("sms", "SMS"))
_FLAGS = ("promo", "optout", "bounced")
_PLAIN = ("first_name", "last_name", "email", "phone_number", "external_id")


def in_klaviyo(omneo: Mapping[str, Any], people: Iterable[Json]) -> Json | None:
    """Return the Klaviyo profile of an Omneo profile: by the id that Omneo holds, by Omneo's id that Klaviyo holds, else by the email."""
    rows = list(people)
    held = [row.get("identifier") for row in omneo.get("identities") or [] if row.get("handle") == IDENTITY]
    address = str(omneo.get("email") or "").lower()
    for is_same in (
        lambda row: row["id"] in held,
        lambda row: row["attributes"].get("external_id") == omneo["id"],
        lambda row: bool(address) and str(row["attributes"].get("email") or "").lower() == address,
    ):
        if found := next(filter(is_same, rows), None):
            return found
    return None


def omneo_side(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the fields of Omneo's side, by name."""
    comms = row["attributes"]["comms"]
    held = next((it["identifier"] for it in row.get("identities") or [] if it["handle"] == IDENTITY), "")
    shown = [
        ("Id", row["id"]),
        ("Name", row.get("full_name")),
        ("Email", row.get("email")),
        ("Mobile", row.get("mobile_phone")),
        ("Tier", row.get("tier_handle")),
        ("Points", row.get("point_balance")),
        ("Rewards", row.get("reward_balance")),
        ("Klaviyo id", held),
        ("Updated", row.get("updated_at")),
    ]
    for channel, title in _CHANNELS:
        said = ", ".join(f"{flag} {_flag(comms.get(f'{channel}_{flag}'))}" for flag in _FLAGS)
        shown.append((f"{title} consent", said))
        shown.append((f"{title} decided", comms.get(f"{channel}_consent_updated_at")))
    return [(name, str(value)) for name, value in shown if value not in (None, "")]


def klaviyo_side(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the fields of Klaviyo's side, by name."""
    email = row["subscriptions"]["email"]["marketing"]
    sms = row["subscriptions"]["sms"]["marketing"]
    attributes = row["attributes"]
    suppressed = ", ".join(it["reason"] for it in email["suppression"])
    shown = [
        ("Id", row["id"]),
        *((name.replace("_", " ").capitalize(), attributes.get(name)) for name in _PLAIN),
        *sorted(row["properties"].items()),
        ("Email consent", email["consent"]),
        ("Email decided", email["consent_timestamp"]),
        ("Email suppressed", suppressed),
        ("SMS consent", sms["consent"]),
        ("SMS decided", sms["consent_timestamp"]),
    ]
    return [(name, str(value)) for name, value in shown if value not in (None, "")]


def _flag(value: object) -> str:
    if value is None:
        return "unset"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
