"""Whose consent each channel of an Omneo profile is about: a Klaviyo profile, with the address that Klaviyo has of it."""

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
    """Return whose consent each channel is about after an import: see `subjects`."""
    number = None if imported.holders else imported.owners.get("phone_number")
    return subjects(imported.profile, number, wanted)


def subjects(
    own: KlaviyoProfile, number: KlaviyoProfile | None, wanted: Mapping[str, Json]
) -> dict[Channel, Subject]:
    """Return whose consent each channel is about: that of the profile's own Klaviyo profile, with the address that Klaviyo has of it.

    Consent to a phone number that a Klaviyo profile has which is nothing but this number is about that one. `number` is who has the
    number, None if nobody, or another living Omneo profile's. `wanted` are the attributes that Klaviyo was to get.
    """
    is_bare = number is not None and not (number.email or number.external_id)
    owners = {Channel.EMAIL: own, Channel.SMS: number if number and is_bare else own}
    return {channel: subject_of(owner, channel, wanted) for channel, owner in owners.items()}


def subjects_of_excluded(profile: KlaviyoProfile) -> dict[Channel, Subject]:
    """Return whose consents an excluded profile's opt-outs are about. No opt-in is asked for, since no address is its own."""
    return {channel: subject_of(profile, channel, {}) for channel in Channel}


def subject_of(owner: KlaviyoProfile, channel: Channel, wanted: Mapping[str, Json]) -> Subject:
    """Return one channel's subject, where `owner` is whose consent it is about: an opt-in is only for an address that Klaviyo has of them."""
    held = owner.email if channel is Channel.EMAIL else owner.phone_number
    address = str(wanted.get(ADDRESSES[channel]) or "")
    is_same = held.casefold() == address.casefold()
    return Subject(owner.id, address if is_same else "", owner.subscriptions, held)
