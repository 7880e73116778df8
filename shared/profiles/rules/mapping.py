"""From an Omneo profile to the attributes of Klaviyo's create-or-update.

Consent is not among them: Klaviyo takes it by other calls (profiles/consent_calls.py). exclusions.py decides whether a profile is synced at all.

Klaviyo gets:

* its own attributes: `external_id` (the Omneo profile id), `email`, `phone_number`, the names, `location` from the default address;
* properties under fixed names, `DEFAULTS` and `omneo_birth_date`, and one for each email, SMS and push choice, `omneo_email_benefits` and the like;
* each custom attribute as a property named `namespace:handle`, as Omneo itself writes it: two attributes never share a name;
* the values that the tenant's mappings add. A path that is mapped is renamed: it no longer goes out as a default property.

Empty values. Null and "" never clear anything in Klaviyo by themselves: a value that Omneo never had may have been gathered by a form of
Klaviyo's. A value was emptied on purpose only if the last sync filled it (`filled_before`) and Omneo now holds it as empty: then the
attribute is cleared, or the property removed. A value that the profile does not mention stays as it is, and so does an email address.
"Unknown", which Omneo fills in for a missing name, counts as empty. 0, false and the like are values.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from shared.klaviyo.rules.attributes import fitted, plain_text
from shared.profiles.rules.draft import Draft, MappedProfile, Note, NoteReason
from shared.profiles.rules.omneo_paths import MISSING, at_path, birth_date, custom_attributes, iso_time
from shared.values.amounts import MONEY, rounded_as_given
from shared.values.attribute_names import attribute_named, property_named
from shared.values.phones import has_phone, phone_of

__all__ = ["MappedProfile", "Note", "NoteReason", "klaviyo_profile"]

Json = Any

CORE = {
    "first_name": "first_name",
    "last_name": "last_name",
    "address.address_line_1": "location.address1",
    "address.address_line_2": "location.address2",
    "address.city": "location.city",
    "address.state": "location.region",
    "address.postcode": "location.zip",
    "address.country": "location.country",
    "address.latitude": "location.latitude",
    "address.longitude": "location.longitude",
}
# Omneo's title is Ms or Dr; Klaviyo's attribute of that name is the job.
DEFAULTS = {
    "title": "omneo_title",
    "reward_balance": "omneo_reward_balance",
    "point_balance": "omneo_point_balance",
    "point_balance_dollars": "omneo_point_balance_dollars",
    "combined_balance_dollars": "omneo_combined_balance_dollars",
    "tier_handle": "omneo_tier_handle",
    "tier.name": "omneo_tier",
    "joined_at": "omneo_joined_at",
    "birth_day": "omneo_birth_day",
    "birth_month": "omneo_birth_month",
    "preferred_location.name": "omneo_preferred_store",
    "preferred_location_id": "omneo_preferred_store_id",
}
_CATEGORIES = ("discover", "benefits", "reminders", "account", "bookings", "feedback", "location", "service")
CHOICES = (
    *(f"{channel}_{category}" for channel in ("email", "sms", "push") for category in _CATEGORIES),
    "push_promo",
    "push_optout",
    "push_bounced",
)
_NAMES = ("first_name", "last_name")


def klaviyo_profile(
    profile: Mapping[str, Json],
    *,
    mappings: Mapping[str, str],
    region: str,
    filled_before: Collection[str] = (),
) -> MappedProfile:
    """Return the Klaviyo profile of an Omneo profile. A value that does not fit is left out and noted; it never fails.

    `mappings` is the tenant's setting: Omneo path to Klaviyo attribute or property. `region` is the ISO country of phone numbers
    without a prefix (`phones.region_of`). `filled_before` is `filled` of this profile's last sync.
    """
    draft = Draft(region, frozenset(filled_before))
    _identify(draft, profile)
    for path, attribute in CORE.items():
        draft.attribute(attribute, _core_value(profile, path))
    for name, value in _default_properties(profile, mappings):
        draft.property(name, value)
    for name in _removed_attributes(draft, profile, mappings):
        draft.property(name, None)
    for path, name in mappings.items():
        _map(draft, profile, path, name)
    return draft.finished(str(profile.get("id") or ""))


def names_filled(mappings: Mapping[str, str]) -> frozenset[str]:
    """Return what a sync fills, by the names of `filled`: but for the custom attributes, which a shop names."""
    properties = (*DEFAULTS.values(), "omneo_birth_date", *(f"omneo_{choice}" for choice in CHOICES))
    mapped = (
        attribute_named(name) or f"properties.{property_named(name)}"
        for name in mappings.values()
        if attribute_named(name) != ""
    )
    own = (*CORE.values(), "email", "phone_number", *(f"properties.{name}" for name in properties))
    return frozenset((*own, *mapped))


def _identify(draft: Draft, profile: Mapping[str, Json]) -> None:
    email = profile.get("email", MISSING)
    if not draft.is_empty("email", email):
        found = fitted("email", email, draft.region)
        if found is None:
            draft.notes.append(Note(NoteReason.EMAIL_INVALID, "email"))
        else:
            draft.values["email"] = found
    if not has_phone(profile):
        draft.is_empty("phone_number", profile.get("mobile_phone", MISSING))
    elif phone := phone_of(profile, draft.region):
        draft.values["phone_number"] = phone
    else:
        draft.notes.append(Note(NoteReason.PHONE_INVALID, "phone_number"))


def _core_value(profile: Mapping[str, Json], path: str) -> Json:
    value = at_path(profile, path)
    is_filler = path in _NAMES and isinstance(value, str) and value.strip() == "Unknown"
    return "" if is_filler else value


def _default_properties(
    profile: Mapping[str, Json], mappings: Mapping[str, str]
) -> Iterator[tuple[str, Json]]:
    for path, name in DEFAULTS.items():
        if path not in mappings:
            yield name, _property_value(profile, path)
    if "birth_date" not in mappings:
        yield "omneo_birth_date", birth_date(profile)
    for choice in CHOICES:
        path = f"attributes.comms.{choice}"
        if path not in mappings:
            yield f"omneo_{choice}", at_path(profile, path)
    for name, value in custom_attributes(profile):
        if f"custom_attributes.{name}" not in mappings:
            yield name, value


def _removed_attributes(
    draft: Draft, profile: Mapping[str, Json], mappings: Mapping[str, str]
) -> Iterator[str]:
    """Yield the custom attributes that went out under their own names and are no longer in the profile's list."""
    if not isinstance(profile.get("custom_attributes"), list):
        return
    still = {name for name, _ in custom_attributes(profile)} | {*mappings.values()}
    sent = (key.removeprefix("properties.") for key in draft.before if key.startswith("properties."))
    yield from sorted(name for name in sent if ":" in name and name not in still)


def _property_value(profile: Mapping[str, Json], path: str) -> Json:
    value = at_path(profile, path)
    if path == "tier_handle" and value is MISSING:
        return at_path(profile, "tier.handle")
    if path in MONEY:
        return rounded_as_given(value, profile.get("currency"))
    return iso_time(value) if path == "joined_at" else value


def _map(draft: Draft, profile: Mapping[str, Json], path: str, name: str) -> None:
    value = birth_date(profile) if path == "birth_date" else _property_value(profile, path)
    if path in _NAMES:
        value = _core_value(profile, path)
    attribute = attribute_named(name)
    if attribute == "":
        draft.notes.append(Note(NoteReason.NAME_RESERVED, plain_text(name)))
    elif attribute is None:
        draft.property(property_named(name), value)
    else:
        draft.attribute(attribute, value)
