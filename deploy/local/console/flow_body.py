"""The body of a flow's webhook action, from a form: JSON with Klaviyo's placeholders, to be pasted. Pure.

A value is a text as it is, or a property of the event, which becomes a placeholder. The id always contains the person:
one id is one reward for one person, and Omneo may refuse an id that somebody else has.
"""

import json
import re
from dataclasses import dataclass

_PLAIN_NAME = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*", re.ASCII)
_NUMBER = re.compile(r"\d{1,7}(?:\.\d{1,4})?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?: \d{2}:\d{2}:\d{2})?", re.ASCII)
_UNSAFE = re.compile(r"[\"'{}%\\\x00-\x1f]")
PERSON = "{{ person.id }}"


class CannotFillInError(Exception):
    """A field cannot be taken as it is filled in; the message names it and the fix."""


@dataclass(frozen=True)
class Reward:
    """The filled-in form. `id` is the fixed part, `id_property` the event's property beside it, "" if it is the person alone.

    Either `amount` or `amount_property` is given.
    """

    definition: str
    id: str = ""
    id_property: str = ""
    amount: str = ""
    amount_property: str = ""
    expires_at: str = ""
    timezone: str = ""


def body(reward: Reward) -> str:
    """Return the body to paste.

    Raises:
        CannotFillInError: names the field and the fix.
    """
    data: dict[str, object] = {**_definition(reward.definition), "amount": _amount(reward)}
    if reward.expires_at.strip():
        data["expires_at"] = _expiry(reward.expires_at.strip())
    if reward.timezone.strip():
        data["timezone"] = _text("Time zone", reward.timezone)
    data["meta"] = {"source": "klaviyo flow"}
    whole = {
        "id": _id(reward),
        "person_id": PERSON,
        "email": "{{ person.email }}",
        "data": data,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False)


def placeholder(field: str, name: str) -> str:
    """Return the placeholder of an event's property.

    >>> placeholder("Amount", "reward_amount"), placeholder("Amount", "Reward Amount")
    ('{{ event.reward_amount }}', "{{ event|lookup:'Reward Amount' }}")

    Raises:
        CannotFillInError: the property cannot be named in a template.
    """
    plain = name.strip()
    if _PLAIN_NAME.fullmatch(plain):
        return f"{{{{ event.{plain} }}}}"
    if not plain or _UNSAFE.search(plain):
        raise CannotFillInError(f"{field}: name a property of the event, without quotes and braces.")
    return f"{{{{ event|lookup:'{plain}' }}}}"


def _id(reward: Reward) -> str:
    """Return the id: it holds the person, since an id is one reward for one person."""
    fixed = _text("Id", reward.id).rstrip("-") if reward.id.strip() else ""
    varying = placeholder("Id property", reward.id_property) if reward.id_property.strip() else ""
    if not fixed and not varying:
        raise CannotFillInError("Id: write what this flow is for, such as birthday-2027, or name a property.")
    return "-".join(part for part in (fixed, varying, PERSON) if part)


def _definition(text: str) -> dict[str, object]:
    plain = text.strip()
    if plain.isascii() and plain.isdecimal():
        return {"reward_definition_id": int(plain)}
    if not plain:
        raise CannotFillInError("Reward: choose one.")
    return {"reward_definition_handle": _text("Reward", plain)}


def _amount(reward: Reward) -> str:
    if reward.amount_property.strip():
        return placeholder("Amount property", reward.amount_property)
    plain = reward.amount.strip()
    if not _NUMBER.fullmatch(plain) or not 0 < float(plain) <= 1_000_000:
        raise CannotFillInError(
            "Amount: a number above 0 and at most 1,000,000, with a point before the cents."
        )
    return plain


def _expiry(text: str) -> str:
    if not _DATE.fullmatch(text):
        raise CannotFillInError("Expires: a date such as 2026-12-31, or a time such as 2026-12-31 23:59:59.")
    return text


def _text(field: str, text: str) -> str:
    plain = text.strip()
    if _UNSAFE.search(plain) or len(plain) > 100:
        raise CannotFillInError(f"{field}: at most 100 characters, without quotes and braces.")
    return plain
