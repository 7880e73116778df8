"""The write of one profile by an import, alone or with thousands of others. No HTTP here.

Klaviyo's page "Create or Update Profile", and a recorded refusal of a phone number.

Assumed (unsupported-countries):
a number of an unsupported country is refused wherever profiles are created, updated, imported or subscribed
through the API, and not in an event; which countries an account supports is told by the beginnings of numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deploy.local.sandbox.klaviyo.accounts import META_MOVED, Account, Profile
from deploy.local.sandbox.klaviyo.errors import Problem
from deploy.local.sandbox.klaviyo.profiles import UNIQUE


class DuplicateProfileError(Exception):
    """An identifier belongs to another profile, which has this id."""

    def __init__(self, id: str) -> None:
        super().__init__("A profile already exists with one of these identifiers.")
        self.id = id


def write(
    account: Account, profile: Profile | None, data: Mapping[str, Any], *, overwrites: bool = False
) -> Profile:
    """Write acceptable `data` to the profile, or to a new one if it is None, and return it.

    With `overwrites` an identifier that another profile has is passed over.

    Raises:
        DuplicateProfileError: an identifier belongs to another profile; nothing is written.
    """
    attributes = data["attributes"]
    owners = (account.owner(name, attributes[name]) for name in UNIQUE if attributes.get(name))
    other = next((owner for owner in owners if owner is not None and owner is not profile), None)
    if other is not None and not overwrites:
        raise DuplicateProfileError(other.id)
    return account.apply_profile(data, revision=META_MOVED, clears_identifiers=True)


def without_null(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a profile's resource without the fields that are null, those of its location and properties included."""
    attributes = {name: value for name, value in row["attributes"].items() if value is not None}
    for name in ("location", "properties"):
        if isinstance(inner := attributes.get(name), Mapping):
            attributes[name] = {key: value for key, value in inner.items() if value is not None}
    return {**row, "attributes": attributes}


def unsupported_phones(
    rows: Sequence[Mapping[str, Any]], prefixes: Sequence[str], pointer: str
) -> Iterator[Problem]:
    """Yield a problem for each acceptable row with a number that begins with one of the prefixes.

    `pointer` leads to a row, with `{index}` for its place.
    """
    for index, row in enumerate(rows):
        phone = row["attributes"].get("phone_number")
        if phone and phone.startswith(tuple(prefixes)):
            at = f"{pointer.format(index=index)}/attributes/phone_number"
            yield Problem("This phone number's region is not supported for this account.", at)
