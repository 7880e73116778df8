"""The plan of a sync: whether an Omneo profile is synced, and with which values. It is made before any call to Klaviyo. Pure.

A live sync sends the plan, `explain` shows it. Consent also needs Klaviyo's answer, so consent/rules/comparison.py decides about it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.consent.rules.decisions import read_stamp
from shared.profiles.rules.calls import stored_klaviyo_id
from shared.profiles.rules.exclusions import Exclusion, exclusion
from shared.profiles.rules.mapping import MappedProfile, klaviyo_profile


class Absence(StrEnum):
    """Why there is nothing to sync, for the log and for `explain`."""

    GONE = "gone"  # Omneo knows no such profile
    DELETED = "deleted"  # it was, and what Omneo shows is older


@dataclass(frozen=True)
class SyncRules:
    """The tenant's settings that decide. `region` is the country of phone numbers without a prefix."""

    logic: Mapping[str, Any] | None
    mappings: Mapping[str, str]
    region: str
    identity_handle: str


@dataclass(frozen=True)
class SyncPlan:
    """The values that go to Klaviyo: the profile, and the Klaviyo id that Omneo holds for it, "" if none."""

    mapped: MappedProfile
    klaviyo_id: str


def plan_sync(
    profile: Mapping[str, Any] | None,
    rules: SyncRules,
    *,
    filled_before: Collection[str] = (),
    deleted_at: datetime | None = None,
) -> SyncPlan | Exclusion | Absence:
    """Return the profile for Klaviyo, or the reason why none is sent.

    `profile` is Omneo's profile, None if Omneo shows none. `deleted_at` is the time at which its deletion was reported, None if it was not:
    a profile that was changed later was restored.

    Raises:
        ExcludeLogicError: the exclude logic cannot be evaluated on the profile.
    """
    if profile is None or profile.get("profile_type") == "deleted":
        return Absence.GONE
    changed_at = read_stamp(profile.get("updated_at"))
    if deleted_at is not None and (changed_at is None or changed_at <= deleted_at):
        return Absence.DELETED
    if reason := exclusion(profile, rules.logic):
        return reason
    mapped = mapped_profile(profile, rules, filled_before)
    return SyncPlan(mapped, stored_klaviyo_id(profile, rules.identity_handle))


def mapped_profile(
    profile: Mapping[str, Any], rules: SyncRules, filled_before: Collection[str] = ()
) -> MappedProfile:
    """Return a profile as Klaviyo takes it, whether it is synced or not."""
    return klaviyo_profile(profile, mappings=rules.mappings, region=rules.region, filled_before=filled_before)


def comms_of(profile: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the consent flags and stamps, as Omneo holds them; None if it does not show them, which says nothing about them."""
    attributes = profile.get("attributes")
    comms = attributes.get("comms") if isinstance(attributes, Mapping) else None
    if comms == []:
        return {}  # so PHP writes an empty object
    return comms if isinstance(comms, Mapping) else None
