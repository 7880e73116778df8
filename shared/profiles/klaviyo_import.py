"""Bring a profile to Klaviyo: look up who has its identifiers (`ownership.py`), decide by one table (`rules/owners.py`), then write.

A profile whose identifiers have not changed since the last sync is written at once. A value that Klaviyo would refuse is left out. If another
profile takes an identifier between the look and the write, Klaviyo refuses the write, and the table decides again with this knowledge.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from shared.errors import CannotSucceedError, NotFoundError, RefusedError, WaitError
from shared.klaviyo.profiles import KlaviyoProfile
from shared.profiles.former_owners import FormerOwners
from shared.profiles.ownership import Ownership, held_of
from shared.profiles.rules.draft import with_cleared
from shared.profiles.rules.mapping import MappedProfile
from shared.profiles.rules.owners import IDENTIFIERS, Fate, FoundBy, Owners, Verdict, decide
from shared.profiles.taking_over import TakeOver

_POINTER = "/data/attributes/"
_MOST_WRITES = 5

Released = Callable[[str, str], bool]  # by the name and the value of an identifier


class KlaviyoWrites(Protocol):
    """The part of Klaviyo's client that is used here: see `shared/klaviyo/profiles.py`."""

    def import_profile(self, resource: Mapping[str, Any]) -> KlaviyoProfile:
        """Update the profile, and return it."""

    def create_profile(self, resource: Mapping[str, Any]) -> KlaviyoProfile:
        """Create the profile, and return it."""


class LeftOut(StrEnum):
    """Why Klaviyo got the profile without something, for the log and for `explain`."""

    REFUSED = "refused"  # Klaviyo refuses the value, for example a phone number's country
    OF_ANOTHER = "of_another"  # another Klaviyo profile has the identifier
    MERGING = "merging"  # a Klaviyo profile that has the identifier is to be merged into this one


@dataclass(frozen=True)
class Imported:
    """A profile that was written, or would be.

    `profile` is Klaviyo's profile after the write, `before` the one before it, None if it was not read or did not
    exist. `sent` is the `data` of the call. `left_out` names the values that were left out. `owners` are the Klaviyo
    profiles that have the identifiers among them, and `holders` the living Omneo profiles of these. `verdict` is None
    if the profile was written without a look-up. `was_anothers` means that it was the profile of another person, who no
    longer exists in Omneo: its decisions are not this person's. `is_astray` means that the values, without the
    identifiers, were written to a profile first that turned out to be no longer the person's.
    """

    profile: KlaviyoProfile
    sent: Mapping[str, Any]
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    owners: Mapping[str, KlaviyoProfile] = field(default_factory=dict)
    holders: tuple[str, ...] = ()
    before: KlaviyoProfile | None = None
    verdict: Verdict | None = None
    was_anothers: bool = False
    is_astray: bool = False


def import_profile(
    klaviyo: KlaviyoWrites,
    look: Ownership,
    mapped: MappedProfile,
    *,
    known_id: str,
    released: Released,
    take_over: TakeOver,
    former_owners: FormerOwners,
) -> Imported:
    """Write the profile.

    `known_id` is the Klaviyo id of a profile that has all identifiers already, "" if that is not known. `released`
    decides whether to give up an identifier that Klaviyo has and Omneo no longer has. `take_over` keeps other syncs
    from a profile without an owner that becomes this person's. The data of the `former_owners` is removed from it.

    Raises:
        CannotSucceedError: Klaviyo accepts neither an email address nor a phone number of the profile.
        WaitError: the profile has just disappeared from Klaviyo.
        TurnTakenError: another sync takes over the same Klaviyo profile.
        ServiceError: Klaviyo or Omneo refused or did not answer.
    """
    return _Import(klaviyo, look, mapped, released, take_over, former_owners).run(known_id)


def foreseen(
    look: Ownership, mapped: MappedProfile, *, released: Released, former_owners: FormerOwners
) -> Imported:
    """Return the result that an import would have if Klaviyo takes every value. Nothing is written."""
    verdict = decide(look.owners(mapped.attributes, before_a_write=False))
    anothers = _anothers(look, verdict, former_owners)
    fields = former_owners.fields_of(anothers) if anothers else ()
    sent = _resource(mapped, verdict, look.profiles.get(verdict.klaviyo_id), (), released, anothers=fields)
    before = look.profiles.get(verdict.klaviyo_id) or KlaviyoProfile(id="")
    attributes = sent["attributes"]
    profile = replace(
        before,
        email=str(attributes.get("email", before.email) or ""),
        phone_number=str(attributes.get("phone_number", before.phone_number) or ""),
    )
    return _imported(look, profile, sent, {}, verdict, was_anothers=anothers is not None)


@dataclass
class _Import:
    klaviyo: KlaviyoWrites
    look: Ownership
    mapped: MappedProfile
    released: Released
    take_over: TakeOver
    former_owners: FormerOwners
    refused: dict[str, LeftOut] = field(default_factory=dict)
    # Identifiers that the profile has already, and Klaviyo refuses to be told again.
    there: tuple[str, ...] = ()
    is_astray: bool = False

    def run(self, known_id: str) -> Imported:
        if known_id and (imported := self._at_once(known_id)):
            return imported
        owners = self.look.owners(self.mapped.attributes)
        for _ in range(_MOST_WRITES):
            owners, verdict = self._decided(owners)
            ours = self.look.profiles.get(verdict.klaviyo_id)
            if ours is not None and verdict.found_by is FoundBy.EMAIL:
                self.former_owners.keep_from_production(ours)
            former = _anothers(self.look, verdict, self.former_owners)
            if former is not None:
                self.former_owners.leave(former, str(self.mapped.attributes.get("phone_number") or ""))
            anothers = self.former_owners.fields_of(former) if former else ()
            without = (*self.refused, *self.there)
            sent = _resource(self.mapped, verdict, ours, without, self.released, anothers=anothers)
            try:
                profile = self._write(sent)
            except NotFoundError as error:
                raise WaitError("the Klaviyo profile has just gone", service="Klaviyo", status=404) from error
            except RefusedError as error:
                owners = self._told_by(error, owners, verdict)
            else:
                was_anothers = former is not None
                imported = _imported(
                    self.look, profile, sent, self.refused, verdict, was_anothers=was_anothers
                )
                return replace(imported, is_astray=self.is_astray)
        raise CannotSucceedError(
            "Klaviyo refuses the profile in ever new ways. Look at its answers, then replay."
        )

    def _decided(self, owners: Owners) -> tuple[Owners, Verdict]:
        """Reserve the profiles that this sync takes over, so that no other sync can take them.

        Then return the owners and the verdict.
        """
        verdict, taken = decide(owners), set[str]()
        while untaken := [id for id in verdict.taken_over if id not in taken]:
            taken.add(untaken[0])
            if self.take_over(untaken[0]):
                owners = self.look.again(untaken[0], owners, self.mapped.attributes)
                verdict = decide(owners)
        return owners, verdict

    def _at_once(self, id: str) -> Imported | None:
        """Write a profile that has all identifiers already; return None if it no longer has them.

        The identifiers are not sent, unless Klaviyo's answer shows that it must be told one: a merchant may have merged the profile into
        another person's, and then Klaviyo answers with that one.
        """
        unsent: tuple[str, ...] = IDENTIFIERS
        while True:
            verdict = Verdict(id, FoundBy.STORED_IDENTITY, {})
            sent = _resource(self.mapped, verdict, None, (*self.refused, *unsent), self.released)
            try:
                profile = self._write(sent)
            except RefusedError as error:
                if error.status in (404, 409):
                    return None
                self._leave_out(error)
                continue
            if profile.id != id or not self._is_there("external_id", profile):
                self.is_astray = True
                return None
            if not unsent or all(self._is_there(name, profile) for name in IDENTIFIERS):
                return Imported(profile, sent, dict(self.refused))
            unsent = ()

    def _is_there(self, name: str, profile: KlaviyoProfile) -> bool:
        """Return whether the profile needs no more to be told of an identifier: it has the value, or none where it is to be cleared."""
        wanted = self.mapped.attributes
        if wanted.get(name):
            return bool(held_of(profile, {name: wanted[name]}))
        return name not in wanted or not getattr(profile, name)

    def _write(self, resource: Mapping[str, Any]) -> KlaviyoProfile:
        if resource.get("id"):
            return self.klaviyo.import_profile(resource)
        return self.klaviyo.create_profile(resource)

    def _told_by(self, error: RefusedError, owners: Owners, verdict: Verdict) -> Owners:
        """Return the owners after a refusal, or raise the refusal if it gives no help."""
        if error.status != 409:
            self._leave_out(error)
            return owners
        wanted = self.mapped.attributes
        ours = self.look.profiles.get(verdict.klaviyo_id)
        if ours is not None and error.duplicate_of == ours.id and not self.there:
            self.there = tuple(held_of(ours, wanted))
            return owners
        told = self.look.told_of(error.duplicate_of, owners, wanted) if error.duplicate_of else None
        if told is None:
            raise error
        return told

    def _leave_out(self, error: RefusedError) -> None:
        """Leave out the attribute that Klaviyo refuses, or raise the refusal if it cannot be left out."""
        attributes = self.mapped.attributes
        name = error.field.removeprefix(_POINTER).split("/")[0]
        if error.status != 400 or not error.field.startswith(_POINTER) or name not in attributes:
            raise error
        if name == "email" and ("phone_number" in self.refused or not attributes.get("phone_number")):
            raise CannotSucceedError(
                "Klaviyo does not take the profile's email address, and it has no phone number that Klaviyo takes. "
                "Correct it in Omneo, then replay this job."
            ) from error
        if name in ("external_id", "properties", *self.refused):
            raise error
        self.refused[name] = LeftOut.REFUSED


def _resource(
    mapped: MappedProfile,
    verdict: Verdict,
    ours: KlaviyoProfile | None,
    without: Collection[str],
    released: Released,
    *,
    anothers: Collection[str] = (),
) -> dict[str, Any]:
    """Return the `data` of the call: an update of the person's profile, or a new one, which has nothing to clear.

    `anothers` are the fields that were filled in there for somebody else.
    """
    unsent = {name for name, fate in verdict.fates.items() if fate is not Fate.SENT} | {*without}
    attributes = {name: value for name, value in mapped.attributes.items() if name not in unsent}
    if not verdict.klaviyo_id:
        given = {name: value for name, value in attributes.items() if value is not None}
        return {"type": "profile", "attributes": given}
    if ours is not None:
        there = dict.fromkeys(without, True) | attributes
        attributes |= dict.fromkeys(_given_up(ours, there, released))
    resource = {**mapped.resource(verdict.klaviyo_id), "attributes": attributes}
    own = held_of(ours, mapped.attributes) if ours is not None else ()
    return with_cleared(resource, {*anothers}.difference(own)) if anothers else resource


def _anothers(look: Ownership, verdict: Verdict, former_owners: FormerOwners) -> KlaviyoProfile | None:
    """Return the Klaviyo profile that becomes the person's and was another's in Omneo, None if it is no such one."""
    ours = look.profiles.get(verdict.klaviyo_id)
    return ours if ours is not None and former_owners.of(ours) else None


def given_up_by_excluded(
    profile: KlaviyoProfile, wanted: Mapping[str, Any], released: Released
) -> Mapping[str, Any] | None:
    """Return the `data` of a call that takes from an excluded person's profile what others wait for, None if that is nothing.

    `wanted` are the attributes that the person has in Omneo. Nothing else of an excluded profile goes to Klaviyo.
    """
    theirs = dict.fromkeys(held_of(profile, wanted), True)
    given_up = _given_up(profile, theirs, released)
    attributes = dict.fromkeys(given_up)
    return {"type": "profile", "id": profile.id, "attributes": attributes} if given_up else None


def _given_up(profile: KlaviyoProfile, kept: Mapping[str, Any], released: Released) -> list[str]:
    """Return which identifiers the Klaviyo profile has, beside those that are kept, for which somebody waits."""
    return [
        name
        for name in ("email", "phone_number")
        if (held := getattr(profile, name)) and not kept.get(name) and released(name, held)
    ]


def _imported(
    look: Ownership,
    profile: KlaviyoProfile,
    sent: Mapping[str, Any],
    refused: Mapping[str, LeftOut],
    verdict: Verdict,
    *,
    was_anothers: bool,
) -> Imported:
    words = {Fate.MERGED: LeftOut.MERGING, Fate.LEFT_OUT: LeftOut.OF_ANOTHER}
    others = verdict.owners
    return Imported(
        profile=profile,
        sent=sent,
        left_out={**refused, **{name: words[verdict.fates[name]] for name in others}},
        owners={name: look.profiles[owner.id] for name, owner in others.items()},
        holders=tuple(dict.fromkeys(owner.holder for owner in others.values() if owner.holder)),
        before=look.profiles.get(verdict.klaviyo_id),
        verdict=verdict,
        was_anothers=was_anothers,
    )
