"""The Klaviyo profiles that have the identifiers of one Omneo profile, and their Omneo profiles. This module writes
nothing.

`rules/owners.py` decides the next step. Each Klaviyo profile is read once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from shared.errors import RefusedError
from shared.klaviyo.profiles import KlaviyoProfile
from shared.matching import OmneoProfiles, other_holder
from shared.omneo.client import Profile
from shared.profiles.rules.owners import IDENTIFIERS, Owner, Owners, decide
from shared.values.omneo_ids import read_omneo_id

Attributes = Mapping[str, Any]


class KlaviyoSearches(Protocol):
    """The part of Klaviyo's client that this module uses: see `shared/klaviyo/profiles.py`."""

    def profile(self, id: str) -> KlaviyoProfile | None:
        """Return the profile, None if there is none."""

    def find_profile(self, identifier: str, value: str) -> KlaviyoProfile | None:
        """Return the profile that has the identifier, None if there is none."""


@dataclass
class Ownership:
    """Looks up one Omneo profile's identifiers. `stored_id` is the Klaviyo id that Omneo holds under `handle`, "" if none.

    `merged_ids` are the Klaviyo ids of the profiles that were merged into it. `production` names the production tenant on the account whose
    customer a Klaviyo profile is, "" if it is none, or if this tenant is no staging twin.
    """

    klaviyo: KlaviyoSearches
    omneo: OmneoProfiles[Profile]
    profile_id: str
    stored_id: str
    handle: str
    production: Callable[[KlaviyoProfile], str]
    merged_ids: tuple[str, ...] = ()
    profiles: dict[str, KlaviyoProfile] = field(default_factory=dict)  # all that were read, by id
    holders: dict[str, Profile] = field(
        default_factory=dict
    )  # other living Omneo profiles that own one, by id
    _owners: dict[str, Owner] = field(default_factory=dict)

    def owners(self, wanted: Attributes, *, before_a_write: bool = True) -> Owners:
        """Return the owners of the identifiers among these attributes for Klaviyo.

        Before a write, it looks a phone number up only if a profile is to be created. In an update, Klaviyo refuses the
        number of another profile, and names that profile.

        Raises:
            ServiceError: Klaviyo or Omneo refused or did not answer.
        """
        stored = self.stored()
        owners = Owners(
            self._owner(stored) if stored else None,
            absorbed=tuple(self._owner(one) for one in self.absorbed()),
        )
        for name in IDENTIFIERS:
            if name == "phone_number" and before_a_write and decide(owners).klaviyo_id:
                continue
            if found := self._find(name, str(wanted.get(name) or "")):
                owners = _with(owners, [name], self._owner(found))
        return owners

    def stored(self) -> KlaviyoProfile | None:
        """Return the profile whose id Omneo holds, None if there is none, or if it was merged into that of another, here or in production."""
        found = self._stored()
        return None if found is None or self._is_merged_away(found) else found

    def anothers(self) -> tuple[KlaviyoProfile, str] | None:
        """Return the profile that Klaviyo shows under the id that Omneo holds, and the other living person whose it is, None if it is nobody's."""
        found = self._stored()
        holder = self._owner(found).holder if found else ""
        return (found, holder) if found and holder else None

    def productions(self) -> tuple[KlaviyoProfile, str] | None:
        """Return the profile that Klaviyo shows under the id that Omneo holds since a merge, and the production tenant whose customer it is."""
        found = self._stored()
        name = self.production(found) if found and found.id != self.stored_id else ""
        return (found, name) if found and name else None

    def absorbed(self) -> list[KlaviyoProfile]:
        """Return the Klaviyo profiles of the people who were merged into this person in Omneo."""
        return [found for id in self.merged_ids if (found := self._read(id))]

    def told_of(self, id: str, owners: Owners, wanted: Attributes) -> Owners | None:
        """Return the owners after a refusal, which shows that this profile has one of the identifiers.

        Return None if that is known already.
        """
        found = self._read(id)
        if found is None:
            return None
        # If it does not show which one, the least important one counts: the phone number, then the email.
        least = [name for name in ("phone_number", "email") if wanted.get(name) and name not in owners.by]
        names = held_of(found, wanted) or least[:1]
        now = _with(owners, names, self._owner(found))
        return None if now == owners else now

    def again(self, id: str, owners: Owners, wanted: Attributes) -> Owners:
        """Read the profile once more, and return the owners with the result."""
        self.profiles.pop(id, None)
        self._owners.pop(id, None)
        found = self._read(id)
        others = replace(owners, by={name: owner for name, owner in owners.by.items() if owner.id != id})
        return _with(others, held_of(found, wanted), self._owner(found)) if found else others

    def holder_of(self, profile: KlaviyoProfile) -> str:
        """Return the id of the other living Omneo profile that owns a Klaviyo profile, "" if there is none."""
        if profile.id == self.stored_id and not read_omneo_id(profile.external_id):
            return ""  # Omneo has just shown that this identity belongs to our profile
        other = other_holder(profile, self.profile_id, handle=self.handle, omneo=self.omneo)
        if other is None:
            return ""
        self.holders[other.id] = other
        return other.id

    def _stored(self) -> KlaviyoProfile | None:
        return self._read(self.stored_id) if self.stored_id else None

    def _is_merged_away(self, found: KlaviyoProfile) -> bool:
        return found.id != self.stored_id and bool(self._owner(found).holder or self.production(found))

    def _owner(self, profile: KlaviyoProfile) -> Owner:
        if profile.id not in self._owners:
            self._owners[profile.id] = Owner(profile.id, self.holder_of(profile))
        return self._owners[profile.id]

    def _read(self, id: str) -> KlaviyoProfile | None:
        if id not in self.profiles and (found := self.klaviyo.profile(id)):
            self.profiles.setdefault(found.id, found)
            return self.profiles[found.id]
        return self.profiles.get(id)

    def _find(self, name: str, value: str) -> KlaviyoProfile | None:
        if not value:
            return None
        for profile in self.profiles.values():
            if held_of(profile, {name: value}):
                return profile
        try:
            found = self.klaviyo.find_profile(name, value)
        except RefusedError as error:
            if error.status != 400:
                raise
            return None  # Klaviyo rejects the value as invalid, so no profile has it
        return self.profiles.setdefault(found.id, found) if found else None


def held_of(profile: KlaviyoProfile, wanted: Attributes) -> list[str]:
    """Return which of the identifiers among these attributes the Klaviyo profile has."""
    return [
        name
        for name in IDENTIFIERS
        if wanted.get(name) and str(wanted[name]).casefold() == str(getattr(profile, name)).casefold()
    ]


def _with(owners: Owners, names: list[str], owner: Owner) -> Owners:
    return replace(owners, by={**owners.by, **dict.fromkeys(names, owner)})
