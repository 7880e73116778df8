"""Phone numbers as Klaviyo takes them: E.164, by Google's rules for each country. And the country of a name.

The `phonenumbers` library is loaded only when there is a number to read.
https://developers.klaviyo.com/en/docs/acceptable_phone_number_formats
"""

from collections.abc import Mapping
from functools import cache
from typing import Any


def e164(number: str, region: str) -> str | None:
    """Return the number in E.164, None unless it is a valid one. `region` (ISO, "" if unknown) is for one without a prefix.

    >>> e164("0412 345 678", "AU"), e164("+61 412 345 678", ""), e164("0412 345 678", "")
    ('+61412345678', '+61412345678', None)
    """
    import phonenumbers

    try:
        found = phonenumbers.parse(number, region or None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(found):
        return None
    found.extension = None
    return phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)


def phone_of(profile: Mapping[str, Any], region: str) -> str | None:
    """Return an Omneo profile's mobile number in E.164, None unless there is a valid one.

    `mobile_phone_e164` comes first. A `mobile_phone` without a prefix is read with the country that Omneo gives beside it
    (`mobile_phone_country`, a calling code), and only without one with `region`: the wrong country is the wrong person.
    """
    for text, its_region in _candidates(profile, region):
        if found := e164(text, its_region):
            return found
    return None


def has_phone(profile: Mapping[str, Any]) -> bool:
    """Return whether the profile holds anything meant as a mobile number."""
    return any(_text(profile.get(name)) for name in ("mobile_phone_e164", "mobile_phone"))


def region_of(default_region: str | None, account_country: str) -> str:
    """Return the ISO country of phone numbers without a prefix: the tenant's setting, else that of the Klaviyo account.

    `account_country` is free text, as the merchant wrote it. "" when neither says.
    """
    return default_region or country_code(account_country)


@cache  # an account has one country, and the names of all take a moment to load
def country_code(name: str) -> str:
    """Return the ISO 3166-1 alpha-2 code of a country by its English name, formal name or code, "" if there is none.

    Everyday names are Google's, which come with `phonenumbers`; formal ones and codes ISO's. A name in the country's own or
    another language is found when it means one country only.

    >>> [country_code(name) for name in ("Denmark", "australia", "USA", "Viet Nam", "Danmark", "Nowhere")]
    ['DK', 'AU', 'US', 'VN', 'DK', '']
    """
    wanted = name.strip().removeprefix("The ").removeprefix("the ")
    if not wanted:
        return ""
    from iso3166 import countries

    found = countries.get(wanted, None)
    return found.alpha2 if found else _everyday_names().get(wanted.casefold(), "")


def _candidates(profile: Mapping[str, Any], region: str) -> list[tuple[str, str]]:
    mobile = _text(profile.get("mobile_phone"))
    calling_code = _text(profile.get("mobile_phone_country")).lstrip("+")
    found = [(_text(profile.get("mobile_phone_e164")), "")]
    if mobile.startswith("+") or not calling_code:
        found.append((mobile, region))
    else:
        found.append((mobile, _region_of_calling_code(calling_code, region)))
    return [(text, its_region) for text, its_region in found if text]


def _region_of_calling_code(code: str, region: str) -> str:
    import phonenumbers

    if not (code.isascii() and code.isdigit() and len(code) <= 3):
        return region
    regions = phonenumbers.region_codes_for_country_code(int(code))
    if region in regions:
        return region  # several countries may share a code, as +1
    return str(regions[0]) if regions else region


def _text(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() if isinstance(value, str) else ""


def _everyday_names() -> dict[str, str]:
    from phonenumbers.geodata.locale import LOCALE_DATA

    english: dict[str, str] = {}
    others: dict[str, set[str]] = {}
    for region, names in LOCALE_DATA.items():
        for language, name in names.items():
            said = name if not name.startswith("*") else names.get(name[1:], "")
            if said and language == "en":
                english[said.casefold()] = region
            elif said:
                others.setdefault(said.casefold(), set()).add(region)
    return {name: min(regions) for name, regions in others.items() if len(regions) == 1} | english
