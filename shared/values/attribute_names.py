"""The names of Klaviyo's attributes and of properties in a mapping.

https://developers.klaviyo.com/en/reference/create_or_update_profile
"""

from shared.values.rendered import read_plain, read_text

LOCATION = frozenset(
    {"address1", "address2", "city", "country", "region", "zip", "timezone", "ip", "latitude", "longitude"}
)
TOP = frozenset(
    {"email", "phone_number", "first_name", "last_name", "organization", "locale", "title", "image"}
)
# Names that hold attributes are no attributes themselves, and consent has calls of its own.
_WHOLE = frozenset({"location", "properties", "meta", "subscriptions"})
# The identifiers of a profile. Their values must be Omneo's own id or Klaviyo's, never a mapped value.
RESERVED = frozenset({"external_id", "id", "_kx", "anonymous_id"})
# The older names of two of them after a `$`; without the `$`, these were the merchant's own names.
_ONCE_RESERVED = frozenset({"exchange_id", "anonymous"})


def attribute_named(name: str) -> str | None:
    """Return the attribute of a mapping's name, such as `first_name` or `location.city`; None if it names a property.

    Klaviyo's older names with `$` and the bare names of the location are understood. The result is "" for a reserved name, in any spelling.

    >>> attribute_named("$organization"), attribute_named("city"), attribute_named("Favourite"), attribute_named("$ID")
    ('organization', 'location.city', None, '')
    """
    shown = read_plain(name)
    if _is_reserved(shown):
        return ""
    plain = shown.lstrip("$")
    if plain in TOP:
        return plain
    inner = plain.removeprefix("location.")
    return f"location.{inner}" if inner in LOCATION else None


def property_named(name: str) -> str:
    """Return the property of a mapping's name, if it names one.

    >>> property_named("properties.omneo_tier"), property_named("$favourite")
    ('omneo_tier', 'favourite')
    """
    return read_text(name).removeprefix("properties.").lstrip("$")


def name_fault(name: str) -> str:
    """Return why a mapping may not fill this name, "" if it may.

    >>> name_fault("Email"), name_fault("properties.Email"), name_fault("location.street")
    ('must name an attribute of Klaviyo in lower case; a property of such a name is written as properties.NAME', '', \
'may fill no other part of location than those that Klaviyo has')
    """
    attribute = attribute_named(name)
    if attribute == "":
        return "may not fill id, external_id, anonymous_id or _kx, by which Klaviyo finds a profile"
    if attribute is not None:
        return ""
    plain = read_plain(name).lstrip("$").casefold()
    inner = plain.removeprefix("location.")
    if plain in _WHOLE:
        return "may not fill location, properties, meta or subscriptions as a whole; a property of such a name is written as properties.NAME"
    if plain in TOP or inner in LOCATION:
        return "must name an attribute of Klaviyo in lower case; a property of such a name is written as properties.NAME"
    if inner != plain:
        return "may fill no other part of location than those that Klaviyo has"
    return "" if property_named(name) else "must name an attribute or a property of Klaviyo for each path"


def refused_names() -> str:
    """Return the pattern, for a JSON Schema, of the names that `name_fault` refuses. It ignores invisible characters."""
    attributes = sorted(TOP) + [f"(?:location\\.)?{name}" for name in sorted(LOCATION)]
    reserved = rf"\$*(?:properties\.\$*)?(?:{_in_any_case(sorted(RESERVED))})"
    older = rf"\$+(?:{_in_any_case(sorted(_ONCE_RESERVED))})"
    exact = rf"\$*(?:{'|'.join(attributes)})"
    place = rf"{_in_any_case(['location'])}\."
    attribute = (
        rf"\$*(?:{_in_any_case(sorted(TOP))}|(?:{place})?(?:{_in_any_case(sorted(LOCATION))})|{place}[\s\S]*)"
    )
    miscased = rf"(?!{exact}\s*$){attribute}"
    whole = rf"\$*(?:{_in_any_case(sorted(_WHOLE))})"
    empty = r"(?:properties\.)?\$*"
    return rf"^\s*(?:{reserved}|{older}|{whole}|{miscased}|{empty})\s*$"


def _is_reserved(shown: str) -> bool:
    plain = shown.casefold()
    if plain.startswith("$") and plain.lstrip("$") in _ONCE_RESERVED:
        return True
    return plain.lstrip("$").removeprefix("properties.").lstrip("$") in RESERVED


def _in_any_case(names: list[str]) -> str:
    spelled = [
        "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in name)
        for name in names
    ]
    return "|".join(spelled)
