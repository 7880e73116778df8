"""The subject of each channel of an Omneo profile: a Klaviyo profile, with the address that Klaviyo has on it."""

from collections.abc import Mapping
from typing import Any, Literal

from shared.consent.rules.held import Subject
from shared.consent_events import Channel
from shared.klaviyo.profiles import KlaviyoProfile
from shared.profiles.klaviyo_import import Imported

# Klaviyo's names for the address of a channel.
ADDRESSES: Mapping[Channel, Literal["email", "phone_number"]] = {
    Channel.EMAIL: "email",
    Channel.SMS: "phone_number",
}

Json = Any


def subjects_of(imported: Imported, wanted: Mapping[str, Json]) -> dict[Channel, Subject]:
    """Return the subject of each channel after an import: see `subjects`."""
    number = None if imported.holders else imported.owners.get("phone_number")
    return subjects(imported.profile, number, wanted)


def subjects(
    own: KlaviyoProfile, number: KlaviyoProfile | None, wanted: Mapping[str, Json]
) -> dict[Channel, Subject]:
    """Return the subject of each channel: the person's own Klaviyo profile, with the address that Klaviyo has on it.

    If another Klaviyo profile has the phone number, and no email and no `external_id`, it is the subject for SMS.
    `number` is the profile that has the number, None if there is none, or if it belongs to another living Omneo
    profile. `wanted` are the attributes that Klaviyo was to get.
    """
    is_bare = number is not None and not (number.email or number.external_id)
    owners = {Channel.EMAIL: own, Channel.SMS: number if number and is_bare else own}
    return {channel: subject_of(owner, channel, wanted) for channel, owner in owners.items()}


def subjects_of_excluded(profile: KlaviyoProfile) -> dict[Channel, Subject]:
    """Return the subjects of an excluded profile's opt-outs.

    They allow no opt-in, since no address counts as the profile's own.
    """
    return {channel: subject_of(profile, channel, {}) for channel in Channel}


def subject_of(owner: KlaviyoProfile, channel: Channel, wanted: Mapping[str, Json]) -> Subject:
    """Return the subject of one channel for the Klaviyo profile `owner`.

    An opt-in is only for an address that Klaviyo has on it.
    """
    held = owner.email if channel is Channel.EMAIL else owner.phone_number
    address = str(wanted.get(ADDRESSES[channel]) or "")
    is_same = held.casefold() == address.casefold()
    return Subject(owner.id, address if is_same else "", owner.subscriptions, held)
