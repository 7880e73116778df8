"""The table that finds the Klaviyo profile of a person, and decides about each identifier that another Klaviyo profile has. Pure.

The person's profile is the first of these that there is, unless it belongs to another living Omneo profile:

1. the one whose id Omneo holds as an identity,
2. the one that has the Omneo id as its external_id,
3. the one that has the email address.

If there is none, a new one is created. No profile is found by a phone number. The owner of an identifier decides what happens to it:

| owner of the identifier in Klaviyo       | external_id | email            | phone number     |
|------------------------------------------|-------------|------------------|------------------|
| nobody, or the person's profile          | is sent     | is sent          | is sent          |
| a profile of no living Omneo profile     | is merged   | is merged        | is left out      |
| a profile of another living one          | cannot be   | is left out      | is left out      |

Merged: Klaviyo merges that profile into the person's, with everything that it has, so a phone number comes along with the email of the same
profile. The profiles of people who were merged into the person in Omneo are merged too, unless they belong to another living Omneo profile.
If the person's profile still has an identifier in Klaviyo that the person no longer has, and the sync of another person waits for it, it is
released. So two people who have swapped addresses do not wait for each other for ever.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

IDENTIFIERS = ("external_id", "email", "phone_number")


class FoundBy(StrEnum):
    """The identifier by which the person's Klaviyo profile is found, for `explain`."""

    STORED_IDENTITY = "stored_identity"
    EXTERNAL_ID = "external_id"
    EMAIL = "email"
    NONE = "none"


class Fate(StrEnum):
    """The decision about an identifier."""

    SENT = "sent"
    MERGED = "merged"
    LEFT_OUT = "left_out"


@dataclass(frozen=True)
class Owner:
    """A Klaviyo profile that has something of the person's. `holder` is the other living Omneo profile that it belongs to, "" if none."""

    id: str
    holder: str = ""


@dataclass(frozen=True)
class Owners:
    """The owners of identifiers in Klaviyo: `stored` is the profile whose id Omneo holds, None if there is none; the others are by identifier.

    `absorbed` are the Klaviyo profiles of people who were merged into this person in Omneo.
    """

    stored: Owner | None = None
    by: Mapping[str, Owner] = field(default_factory=dict)
    absorbed: tuple[Owner, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The write to make: the person's profile, "" for a new one, the decision about each identifier, and the owners of
    those that are not sent.

    `merges` are the profiles to merge into the person's, and `unmerged` the profiles of people merged in Omneo that are
    still separate.
    """

    klaviyo_id: str
    found_by: FoundBy
    fates: Mapping[str, Fate] = field(default_factory=dict)
    owners: Mapping[str, Owner] = field(default_factory=dict)
    merges: tuple[str, ...] = ()
    unmerged: tuple[str, ...] = ()

    @property
    def taken_over(self) -> tuple[str, ...]:
        """The ids of profiles that nothing in Omneo says to be the person's, and that become theirs by this write, or by a merge."""
        own = (self.klaviyo_id,) if self.found_by is FoundBy.EMAIL else ()
        return (*own, *(id for id in self.merges if id not in self.unmerged))


def decide(owners: Owners) -> Verdict:
    """Return the write to make if the identifiers have these owners."""
    ours, found_by = _ours(owners)
    own = ours.id if ours else ""
    found = (*(owners.by.get(name) for name in ("external_id", "email")), *owners.absorbed)
    merges = {owner.id: None for owner in found if owner and not owner.holder and owner.id != own}
    fates = {name: _fate(owners.by.get(name), own, merges) for name in IDENTIFIERS}
    others = {name: owners.by[name] for name, fate in fates.items() if fate is not Fate.SENT}
    unmerged = tuple(owner.id for owner in owners.absorbed if owner.id != own)
    return Verdict(own, found_by, fates, others, tuple(merges), unmerged)


def _ours(owners: Owners) -> tuple[Owner | None, FoundBy]:
    """Return the person's profile, None if a new one must be created."""
    for found_by, owner in (
        (FoundBy.STORED_IDENTITY, owners.stored),
        (FoundBy.EXTERNAL_ID, owners.by.get("external_id")),
        (FoundBy.EMAIL, owners.by.get("email")),
    ):
        if owner is not None and not owner.holder:
            return owner, found_by
    return None, FoundBy.NONE


def _fate(owner: Owner | None, own: str, merges: Collection[str]) -> Fate:
    if owner is None or owner.id == own:
        return Fate.SENT
    return Fate.MERGED if owner.id in merges else Fate.LEFT_OUT
