"""From the body of a Flow's reward call to the body of Omneo's Create Reward, and the test by which a reward is recognised later.

Flow templates render text: a number may arrive as a string, a missing value as "" or "None". The readers in `shared/values` understand
both. Fields of `data` that the extension does not know go to Omneo unchanged.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.errors import InvalidPayloadError
from shared.rewards.rules.expiry import check_is_ahead, read_expiry, read_timezone
from shared.values import lacks_a_part, read_id, read_number
from shared.values.emails import read_email

# Omneo does not return `external_id`, but it returns `meta`: the value under this key identifies a reward.
META_KEY = "klaviyo_reward_key"
LARGEST_AMOUNT = 1_000_000
ID_LENGTH = 200
TEXT_LENGTH = 255

# The fields that are read below, and the fields that a caller must not set.
_OURS = {
    "amount",
    "expires_at",
    "meta",
    "profile_id",
    "reward_definition_id",
    "timezone",
    "value_initial",
    "value_remaining",
}

Json = dict[str, Any]


@dataclass(frozen=True)
class RewardRequest:
    """A reward that a Flow asks for. A missing value is ""; `expires_at` is local to `timezone`."""

    id: str
    person_id: str
    email: str
    amount: int | float
    definition_id: int | str
    definition_handle: str
    timezone: str
    expires_at: str
    meta: Json
    rest: Json


def read_reward(body: object, *, timezone: str) -> RewardRequest:
    """Return the reward that the body asks for. `timezone` is the tenant's, for a body without one.

    Raises:
        InvalidPayloadError: names the field and the fix.
    """
    if not isinstance(body, dict):
        raise InvalidPayloadError("Send a JSON object.")
    data = body.get("data")
    if not isinstance(data, dict):
        raise InvalidPayloadError("data is needed: an object with reward_definition_id and amount.")
    person_id, email = _person(body)
    handle = _text(data.get("reward_definition_handle"), "data.reward_definition_handle", TEXT_LENGTH)
    zone = _text(data.get("timezone"), "data.timezone", TEXT_LENGTH) or timezone
    expires_at = _text(data.get("expires_at"), "data.expires_at", TEXT_LENGTH)
    read_timezone(zone)
    return RewardRequest(
        id=_id(body.get("id")),
        person_id=person_id,
        email=email,
        amount=_amount(data.get("amount")),
        definition_id=_definition_id(data.get("reward_definition_id"), is_needed=not handle),
        definition_handle=handle,
        timezone=zone,
        expires_at=read_expiry(expires_at, zone) if expires_at else "",
        meta=_meta(data.get("meta")),
        rest={name: value for name, value in data.items() if name not in _OURS},
    )


def check_reward(request: RewardRequest, *, most: float | None, now: datetime) -> None:
    """Raise InvalidPayloadError for an amount above the tenant's own limit, or for a reward that has expired already.

    This is no part of `read_reward`: a late retry of an answered call is no mistake.
    """
    if request.expires_at:
        check_is_ahead(request.expires_at, request.timezone, now)
    if most is not None and request.amount > most:
        raise InvalidPayloadError(
            "data.amount is above this tenant's reward_max_amount. Lower it, or raise that setting."
        )


def omneo_reward(request: RewardRequest, *, profile_id: str, key: str) -> Json:
    """Return the body of Omneo's Create Reward for a request with an `expires_at`. `key` identifies the reward later."""
    # https://docs.omneo.io/api-reference/reward/add-reward
    ours: Json = {
        "profile_id": profile_id,
        "value_initial": request.amount,
        "value_remaining": request.amount,
        "timezone": request.timezone,
        "expires_at": request.expires_at,
        "meta": {**request.meta, META_KEY: key},
    }
    if request.definition_id != "":
        ours["reward_definition_id"] = request.definition_id
    if request.definition_handle:
        ours["reward_definition_handle"] = request.definition_handle
    if request.id:
        ours["external_id"] = request.id
    return {**request.rest, **ours}


def is_known_by(key: str, *, external_id: object, meta: object) -> bool:
    """Return whether `key` identifies a reward with this `external_id` and `meta` in Omneo's list."""
    # PHP writes an empty object as [], and Omneo's own sample shows a list.
    parts = meta if isinstance(meta, list) else [meta]
    keys = [external_id, *(part.get(META_KEY) for part in parts if isinstance(part, Mapping))]
    return key in [str(known) for known in keys if known is not None]


def fingerprint(value: object) -> str:
    """Return a hash of a JSON value that does not depend on the order of its names.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}), fingerprint([1, 2]) == fingerprint([2, 1])
    (True, False)
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _person(body: Json) -> tuple[str, str]:
    for name, other in (("person_id", "email"), ("email", "person_id")):
        if name not in body:
            raise InvalidPayloadError(f"{name} is needed. It may be empty if {other} is not.")
    person_id = _text(body["person_id"], "person_id", TEXT_LENGTH)
    given = _text(body["email"], "email", TEXT_LENGTH)
    email = read_email(given) or ""
    if not person_id and not given:
        raise InvalidPayloadError(
            "person_id and email are both empty. Send one of them: {{ person.id }} or {{ person.email }}."
        )
    if not person_id and not email:  # the profile can still be found by it
        raise InvalidPayloadError("email must be an email address, as {{ person.email }} gives it.")
    return person_id, email


def _id(value: object) -> str:
    id = _text(value, "id", ID_LENGTH)
    if lacks_a_part(id):
        raise InvalidPayloadError(
            "id lacks a part: a placeholder in it rendered nothing. Make it of values that every person in the flow has."
        )
    return id


def _text(value: object, path: str, longest: int) -> str:
    """Return a value as text, a number too, and "" for no value: ids, names and times are read alike."""
    text = read_id(value)
    if text is None:
        raise InvalidPayloadError(f"{path} must be text.")
    if len(text) > longest:
        raise InvalidPayloadError(f"{path} must have at most {longest} characters.")
    return text


def _amount(value: object) -> int | float:
    number = read_number(value)
    if number is None or not 0 < number <= LARGEST_AMOUNT:
        raise InvalidPayloadError(
            f"data.amount must be a number above 0 and at most {LARGEST_AMOUNT}, without a currency sign."
        )
    return number


def _definition_id(value: object, *, is_needed: bool) -> int | str:
    text = _text(value, "data.reward_definition_id", TEXT_LENGTH)
    if not text and is_needed:
        raise InvalidPayloadError(
            "data.reward_definition_id is needed: the id of an Omneo reward definition."
        )
    return int(text) if text.isascii() and text.isdigit() else text


def _meta(value: object) -> Json:
    if value in (None, "", []):
        return {}
    if not isinstance(value, dict):
        raise InvalidPayloadError("data.meta must be an object.")
    return value
