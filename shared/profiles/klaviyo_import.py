"""Bring a profile to Klaviyo by one create-or-update, and give way where Klaviyo refuses a part of it.

Each cause is given way to once: a stored id that Klaviyo does not know, a profile that has an identifier already, an identifier that
belongs to yet another profile, a value that Klaviyo does not take. So the calls are few however Klaviyo answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from shared.errors import CannotSucceedError, NotFoundError, RefusedError
from shared.klaviyo.profiles import KlaviyoProfile
from shared.profiles.rules.mapping import MappedProfile

_POINTER = "/data/attributes/"
_MOST_CALLS = 12


class Importer(Protocol):
    """What of Klaviyo's client is used here: see `shared/klaviyo/profiles.py`."""

    def import_profile(self, resource: Mapping[str, Any]) -> KlaviyoProfile:
        """Create or update the profile, and return it."""

    def profile(self, id: str) -> KlaviyoProfile | None:
        """Return the profile, None if there is none."""

    def find_profile_by_external_id(self, external_id: str) -> KlaviyoProfile | None:
        """Return the profile, None if there is none."""


class LeftOut(StrEnum):
    """Why Klaviyo got the profile without something, for the log and for `explain`."""

    REFUSED = "refused"  # Klaviyo does not take the value: a phone number's country, say
    OF_ANOTHER = "of_another"  # another Klaviyo profile has the identifier


@dataclass(frozen=True)
class Imported:
    """The profile as Klaviyo has it now, what was left out by name, and whose the identifiers of others are."""

    profile: KlaviyoProfile
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    owners: Mapping[str, KlaviyoProfile] = field(default_factory=dict)


def import_profile(klaviyo: Importer, mapped: MappedProfile, klaviyo_id: str) -> Imported:
    """Send the profile. `klaviyo_id` is the one that Omneo holds, "" if none: then Klaviyo finds the profile by its identifiers.

    Raises:
        CannotSucceedError: Klaviyo takes neither the email address nor, for want of one, a phone number.
        ServiceError: what Klaviyo answered.
    """
    resource = mapped.resource()
    return _Import(klaviyo, resource, dict(resource["attributes"]), klaviyo_id).run()


@dataclass
class _Import:
    klaviyo: Importer
    resource: Mapping[str, Any]
    attributes: dict[str, Any]
    id: str
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    owners: dict[str, KlaviyoProfile] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)  # ids that Klaviyo did not know

    def run(self) -> Imported:
        for _ in range(_MOST_CALLS):
            try:
                profile = self.klaviyo.import_profile(self._data())
            except NotFoundError:
                if not self.id:
                    raise
                self.unknown.add(self.id)
                self.id = ""
            except RefusedError as error:
                if not self._gives_way(error):
                    raise
            else:
                return Imported(profile, self.left_out, self.owners)
        raise CannotSucceedError(
            "Klaviyo refuses the profile in ever new ways. Look at its answers, then replay."
        )

    def _data(self) -> dict[str, Any]:
        known = {"id": self.id} if self.id else {}
        return {**self.resource, **known, "attributes": self.attributes}

    def _gives_way(self, error: RefusedError) -> bool:
        """Change what is sent; return whether there was something to change."""
        if error.status == 409 and error.duplicate_of:
            return self._make_room(error.duplicate_of)
        name = error.field.removeprefix(_POINTER).split("/")[0]
        if error.status != 400 or not error.field.startswith(_POINTER) or name not in self.attributes:
            return False
        if name == "email" and not self.attributes.get("phone_number"):
            raise CannotSucceedError(
                "Klaviyo does not take the profile's email address, and it has no phone number that Klaviyo takes. "
                "Correct it in Omneo, then replay this job."
            ) from error
        if name in ("external_id", "properties"):
            return False
        self._leave_out(name, LeftOut.REFUSED)
        return True

    def _make_room(self, other: str) -> bool:
        owner = self.klaviyo.profile(other)
        held = self._held_by(owner)
        if not self.id and other not in self.unknown and held != ["phone_number"]:
            self.id = self._found(other, held)
            return True
        if not held:
            # It does not show which: the phone number is the least of them.
            held = [name for name in ("phone_number", "email") if self.attributes.get(name)][:1]
        for name in held:
            self._leave_out(name, LeftOut.OF_ANOTHER)
            if owner is not None:
                self.owners[name] = owner
        return bool(held)

    def _found(self, other: str, held: list[str]) -> str:
        """Return the id of the profile to update: by external_id first, then by email."""
        external_id = self.attributes.get("external_id")
        if "email" not in held or "external_id" in held or not external_id:
            return other
        found = self.klaviyo.find_profile_by_external_id(external_id)
        return other if found is None else found.id

    def _held_by(self, owner: KlaviyoProfile | None) -> list[str]:
        if owner is None:
            return []
        theirs = {
            "phone_number": owner.phone_number,
            "email": owner.email,
            "external_id": owner.external_id,
        }
        return [
            name
            for name, value in theirs.items()
            if value and str(self.attributes.get(name) or "").casefold() == value.casefold()
        ]

    def _leave_out(self, name: str, reason: LeftOut) -> None:
        del self.attributes[name]
        self.left_out[name] = reason
