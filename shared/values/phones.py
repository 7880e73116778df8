"""Phone numbers as Klaviyo takes them: E.164, by Google's rules for each country. And the country of a name.

The `phonenumbers` library is loaded only when there is a number to read.
https://developers.klaviyo.com/en/docs/acceptable_phone_number_formats
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from shared.values.rendered import read_id, read_text


def e164(number: object, region: str) -> str | None:
    """Return the number in E.164, None unless it is a valid one. `region` (ISO, "" if unknown) is for one without a prefix.

    >>> e164("0412 345 678", "AU"), e164("+61 412 345 678", ""), e164("0412 345 678", "")
    ('+61412345678', '+61412345678', None)
    """
    text = read_id(number)
    if not text:
        return None
    import phonenumbers

    try:
        found = phonenumbers.parse(text, region or None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(found):
        return None
    found.extension = None
    return phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)


def is_like_a_phone(value: object) -> bool:
    """Return whether a value has as many digits as a phone number: enough to let `e164` look at it later.

    >>> is_like_a_phone("0412 345 678"), is_like_a_phone("n/a"), is_like_a_phone(["0412 345 678"])
    (True, False, False)
    """
    digits = sum(letter.isdigit() for letter in read_id(value) or "")
    return 5 <= digits <= 25


def phone_of(profile: Mapping[str, Any], region: str) -> str | None:
    """Return an Omneo profile's mobile number in E.164, None unless there is a valid one.

    `mobile_phone_e164` comes first. A `mobile_phone` without a prefix is read with the country that Omneo gives beside it
    (`mobile_phone_country`: a calling code, an ISO code or a name), and only where none is given with `region`: the wrong country is the
    wrong person. So a country that cannot be read leaves the number out.
    """
    if found := e164(profile.get("mobile_phone_e164"), ""):
        return found
    mobile = read_id(profile.get("mobile_phone"))
    if not mobile:
        return None
    stated = read_id(profile.get("mobile_phone_country"))
    if stated == "" or mobile.startswith("+"):
        return e164(mobile, region)
    its_region = _region_stated(stated, region) if stated else ""
    return e164(mobile, its_region) if its_region else None


def has_phone(profile: Mapping[str, Any]) -> bool:
    """Return whether the profile holds anything meant as a mobile number."""
    return any(read_id(profile.get(name)) for name in ("mobile_phone_e164", "mobile_phone"))


def region_of(default_region: str | None, account_country: str) -> str:
    """Return the ISO country of phone numbers without a prefix: the tenant's setting, or without one the country of the Klaviyo account.

    `account_country` is free text, as the merchant wrote it. "" when neither says.
    """
    return default_region or country_code(account_country)


def regions() -> frozenset[str]:
    """Return the ISO codes of the countries that have phone numbers. UK is none of them, nor is EU."""
    import phonenumbers

    return frozenset(phonenumbers.SUPPORTED_REGIONS)


@cache  # an account has one country, and the names of all take a moment to load
def country_code(name: str) -> str:
    """Return the ISO 3166-1 alpha-2 code of a country by its English name, formal name or code, "" if there is none.

    Everyday names are Google's, which come with `phonenumbers`; formal ones and codes ISO's. A name in the country's own or
    another language is found when it means one country only.

    >>> [country_code(name) for name in ("Denmark", "australia", "USA", "UK", "Viet Nam", "Danmark", "Nowhere")]
    ['DK', 'AU', 'US', 'GB', 'VN', 'DK', '']
    """
    wanted = read_text(name)
    if wanted[:4].casefold() == "the ":
        wanted = wanted[4:].strip()
    if not wanted:
        return ""
    if wanted.casefold() == "uk":  # everybody's word for it; ISO keeps it free, so it is nobody else's
        return "GB"
    from iso3166 import countries

    found = countries.get(wanted, None)
    return found.alpha2 if found else _everyday_names().get(wanted.casefold(), "")


def _region_stated(stated: str, region: str) -> str:
    """Return the region that a stated country means, "" if it cannot be read. `region` decides between countries that share a code."""
    code = re.sub(r"^00|[+()\s.-]", "", stated)
    if not re.fullmatch(r"\d{1,4}", code, re.ASCII):
        return country_code(stated)
    import phonenumbers

    if len(code) == 4 and code.startswith("1"):
        code = "1"  # with the area code of one of the countries that share it, as in 1-684
    regions = phonenumbers.region_codes_for_country_code(int(code))
    if region in regions:
        return region  # several countries may share a code, as +1
    return str(regions[0]) if regions else ""


def _everyday_names() -> dict[str, str]:
    from phonenumbers.geodata.locale import LOCALE_DATA

    found: dict[str, set[str]] = {}
    for region, names in LOCALE_DATA.items():
        for name in names.values():
            if not name.startswith("*"):  # "as in another language"
                found.setdefault(name.casefold(), set()).add(region)
    return {name: min(regions) for name, regions in found.items() if len(regions) == 1}
