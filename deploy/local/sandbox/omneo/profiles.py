"""The shape of an Omneo profile, filled with the values of a new one. Omneo's pages "Profile" and "Profile comms
attribute".

Only the fields that those pages name; a test's own fields replace them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from deploy.local.sandbox.stage.identifiers import Identifiers

_CHANNELS = ("email", "sms", "push", "phone", "post")
_KINDS = (
    "optout",
    "bounced",
    "promo",
    "discover",
    "benefits",
    "reminders",
    "account",
    "bookings",
    "feedback",
    "location",
    "service",
)
COMMS_FLAGS = frozenset(f"{channel}_{kind}" for channel in _CHANNELS for kind in _KINDS)
COMMS_STAMPS = frozenset({"terms_accepted_at", "email_consent_updated_at", "sms_consent_updated_at"})
_EMPTY = (
    "external_id",
    "title",
    "gender",
    "mobile_phone",
    "mobile_phone_country",
    "mobile_phone_national",
    "mobile_phone_national_prefix",
    "mobile_phone_e164",
    "secondary_phone",
    "birth_day",
    "birth_month",
    "birth_year",
    "birth_date",
    "next_birthday",
    "company",
    "occupation",
    "avatar_url",
    "joined_location",
    "joined_location_id",
    "preferred_location",
    "preferred_location_id",
    "tier_handle",
    "tier",
    "address",
    "region",
    "currency",
)
_LISTS = ("tags", "statuses", "custom_attributes", "addresses", "regions")
_BALANCES = ("reward_balance", "point_balance", "point_balance_dollars", "combined_balance_dollars")


def stamp(seconds: float) -> str:
    """Return Unix seconds as Omneo writes times: UTC, no zone."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def new_profile(fields: Mapping[str, Any], identifiers: Identifiers, now: float) -> dict[str, Any]:
    """Return a whole profile. An identity may be given as `{handle, identifier}`, and `attributes.comms` may be given in part."""
    id = fields.get("id") or identifiers.uuid()
    first, last = fields.get("first_name", "Unknown"), fields.get("last_name", "Unknown")
    given = fields.get("attributes") or {}
    return {
        **dict.fromkeys(_EMPTY),
        **{name: [] for name in _LISTS},
        **dict.fromkeys(_BALANCES, 0),
        "first_name": first,
        "last_name": last,
        "full_name": f"{first} {last}",
        "email": None,
        "is_completed": True,
        "profile_type": "active",
        "custom_fields": {},
        "joined_at": stamp(now),
        "created_at": stamp(now),
        "updated_at": stamp(now),
        **fields,
        "id": id,
        "identities": [
            _identity(number, id, row, now) for number, row in enumerate(fields.get("identities", ()), 1)
        ],
        "attributes": {
            "appearance": {},
            "dates": [],
            **given,
            "comms": _comms() | dict(given.get("comms") or {}),
        },
    }


def _comms() -> dict[str, Any]:
    flags = {f"{channel}_{kind}": None for channel in _CHANNELS for kind in _KINDS}
    stamps = (
        "terms_accepted_at",
        "terms_accepted_version",
        "email_consent_updated_at",
        "sms_consent_updated_at",
    )
    return {
        **flags,
        "email_verification": "not_sent",
        "sms_verification": "not_sent",
        **dict.fromkeys(stamps),
    }


def _identity(number: int, profile_id: str, row: Mapping[str, Any], now: float) -> dict[str, Any]:
    return {
        "id": number,
        "merged_from": None,
        "profile_id": profile_id,
        "is_primary": False,
        "is_active": True,
        "created_at": stamp(now),
        "updated_at": stamp(now),
        **row,
    }
