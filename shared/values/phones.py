"""Phone numbers as Klaviyo takes them: E.164, by Google's rules for each country. And the country of a name.

The `phonenumbers` library is loaded only when there is a number to read.
https://developers.klaviyo.com/en/docs/acceptable_phone_number_formats
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Any

from shared.values.rendered import read_id, read_plain

_BLANKS = re.compile(r"[\s_\u00b7\u2022]+")  # the library knows all other separators
_ABROAD = re.compile(
    r"^\D*00(?=\s*[1-9])"
)  # most countries dial it for the +, and people write it everywhere
# Everyday words for a country that are neither its English name nor a code.
_ALSO_CALLED = {
    "uk": "GB", "great britain": "GB", "britain": "GB", "england": "GB", "scotland": "GB", "wales": "GB", "northern ireland": "GB",
    "america": "US", "uae": "AE", "holland": "NL", "republic of ireland": "IE", "ivory coast": "CI", "republic of korea": "KR",
    "commonwealth of australia": "AU", "aotearoa": "NZ", "hong kong sar": "HK", "prc": "CN", "peoples republic of china": "CN",
}  # fmt: skip


def e164(number: object, region: str) -> str | None:
    """Return the number in E.164, None if it is not valid. `region` (ISO, "" if unknown) is for a number without a prefix.

    >>> e164("0412 345 678", "AU"), e164("+61 412 345 678", ""), e164("0061 412 345 678", "AU"), e164("0412 345 678", "")
    ('+61412345678', '+61412345678', '+61412345678', None)
    """
    if not is_like_a_phone(number):
        return None
    text = _BLANKS.sub(" ", read_id(number) or "")
    return _valid(text, region) or (_valid(_ABROAD.sub("+", text), "") if _ABROAD.match(text) else None)


def _valid(text: str, region: str) -> str | None:
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
    """Return whether a value has as many digits as a phone number. `e164` takes no other value.

    >>> is_like_a_phone("0412 345 678"), is_like_a_phone("n/a"), is_like_a_phone(["0412 345 678"])
    (True, False, False)
    """
    digits = sum(letter.isdigit() for letter in read_id(value) or "")
    return 5 <= digits <= 25


def phone_of(profile: Mapping[str, Any], region: str) -> str | None:
    """Return an Omneo profile's mobile number in E.164, None if there is no valid one.

    `mobile_phone_e164` comes first. A `mobile_phone` without a prefix is read with the country that Omneo gives beside it
    (`mobile_phone_country`: a calling code, an ISO code or a name), or with `region` if Omneo gives none. The wrong country is the wrong
    person. So a country that cannot be read leaves the number out.
    """
    if found := e164(profile.get("mobile_phone_e164"), ""):
        return found
    mobile = read_id(profile.get("mobile_phone"))
    if not mobile:
        return None
    stated = read_id(profile.get("mobile_phone_country"))
    if stated == "":
        return e164(mobile, region)
    return e164(
        mobile, _region_stated(stated, region) if stated else ""
    )  # with "", only a number with its own country code is read


def has_phone(profile: Mapping[str, Any]) -> bool:
    """Return whether the profile has a value in a field for mobile numbers."""
    return any(read_id(profile.get(name)) for name in ("mobile_phone_e164", "mobile_phone"))


def region_of(default_region: str | None, account_country: str) -> str:
    """Return the ISO country of phone numbers without a prefix: the tenant's setting, or without one the country of the Klaviyo account.

    `account_country` is the merchant's free text. The result is "" if neither names a country.
    """
    return default_region or country_code(account_country)


def regions() -> frozenset[str]:
    """Return the ISO codes of the countries that have phone numbers. UK and EU are not among them."""
    import phonenumbers

    return frozenset(phonenumbers.SUPPORTED_REGIONS)


@cache  # an account has one country, and the names of all countries take a moment to load
def country_code(name: str) -> str:
    """Return the ISO 3166-1 alpha-2 code of a country by its English name, formal name or code, "" if there is none.

    Everyday names are Google's, which come with `phonenumbers`; formal ones and codes ISO's. A name in the country's own or
    another language is found when it means one country only.

    >>> [country_code(name) for name in ("Denmark", "australia", "U.S.A.", "UK", "Viet Nam", "Espana", "Nowhere")]
    ['DK', 'AU', 'US', 'GB', 'VN', 'ES', '']
    """
    wanted = read_plain(name)
    if wanted[:4].casefold() == "the ":
        wanted = wanted[4:].strip()
    folded = _folded(wanted)
    if not folded:
        return ""
    if folded in _ALSO_CALLED:  # ISO keeps UK free, so it means no other country
        return _ALSO_CALLED[folded]
    from iso3166 import countries

    found = countries.get(wanted, None) or countries.get(folded, None)  # U.S.A.
    return found.alpha2 if found else _everyday_names().get(folded, "")


def _region_stated(stated: str, region: str) -> str:
    """Return the region of a stated country, "" if it cannot be read. `region` decides between countries that share a code."""
    code = re.sub(r"^00|[+()\s.-]", "", stated)
    if not re.fullmatch(r"\d{1,4}", code, re.ASCII):
        return country_code(stated)
    if code.startswith("0"):
        return ""  # ISO's number of a country, as 036, or a calling code, as 36: two countries
    import phonenumbers

    if len(code) == 4 and code.startswith("1"):
        code = "1"  # with the area code of one of the countries that share it, as in 1-684
    regions = phonenumbers.region_codes_for_country_code(int(code))
    if region in regions:
        return region  # several countries may share a code, as +1
    return str(regions[0]) if regions else ""


@cache  # twenty thousand names take a quarter of a second to fold
def _everyday_names() -> dict[str, str]:
    from phonenumbers.geodata.locale import LOCALE_DATA

    found: dict[str, set[str]] = {}
    for region, names in LOCALE_DATA.items():
        for name in names.values():
            if not name.startswith("*"):  # "as in another language"
                found.setdefault(_folded(name), set()).add(region)
    return {name: min(regions) for name, regions in found.items() if len(regions) == 1}


def _folded(name: str) -> str:
    """Return a name in a plain spelling: in lower case, without accents, points and apostrophes."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    kept = (letter for letter in plain if not unicodedata.combining(letter) and letter not in ".'\u2019")
    return " ".join("".join(kept).split())
