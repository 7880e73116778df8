"""Phone numbers to E.164, and the country that a number without a prefix belongs to."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.profiles.rules.phones import country_code, e164, phone_of, region_of


@pytest.mark.parametrize(
    ("number", "region", "expected"),
    [
        ("+61412345678", "", "+61412345678"),
        ("0412 345 678", "AU", "+61412345678"),
        ("(02) 9374-4000", "AU", "+61293744000"),
        ("021 234 567", "NZ", "+6421234567"),
        ("+61412345678", "NZ", "+61412345678"),
        ("0011 64 21 234 567", "AU", "+6421234567"),
        ("+61 412 345 678 ext. 9", "AU", "+61412345678"),
        ("0412 345 678", "", None),
        ("0412 345 678", "ZZ", None),
        ("12", "AU", None),
        ("+611", "AU", None),
        ("canary", "AU", None),
        ("", "AU", None),
    ],
)
def test_a_number_is_valid_or_none(number: str, region: str, expected: str | None) -> None:
    assert e164(number, region) == expected


@given(st.text(max_size=300), st.sampled_from(["", "AU", "US", "xx"]))
def test_no_text_fails(text: str, region: str) -> None:
    found = e164(text, region)
    assert found is None or e164(found, "") == found


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ({"mobile_phone_e164": "+61412345678", "mobile_phone": "021 234 567"}, "+61412345678"),
        ({"mobile_phone_e164": "canary", "mobile_phone": "0412 345 678"}, "+61412345678"),
        ({"mobile_phone": "+6421234567"}, "+6421234567"),
        ({"mobile_phone": "021 234 567", "mobile_phone_country": "64"}, "+6421234567"),
        ({"mobile_phone": "021 234 567", "mobile_phone_country": 64}, "+6421234567"),
        ({"mobile_phone": "0412 345 678", "mobile_phone_country": "64"}, None),  # no Australian's number
        ({"mobile_phone": "0412 345 678", "mobile_phone_country": "AU"}, "+61412345678"),
        ({"mobile_phone": 412345678}, "+61412345678"),
        ({"mobile_phone": None}, None),
        ({"mobile_phone": ["+61412345678"]}, None),
    ],
)
def test_omneos_own_country_comes_before_the_tenants(profile: dict[str, Any], expected: str | None) -> None:
    assert phone_of(profile, "AU") == expected


@pytest.mark.parametrize(
    ("name", "code"),
    [("Australia", "AU"), ("Denmark", "DK"), ("denmark ", "DK"), ("United States", "US"), ("United States of America", "US"),
     ("USA", "US"), ("United Kingdom", "GB"), ("GB", "GB"), ("The Netherlands", "NL"), ("Czechia", "CZ"), ("Czech Republic", "CZ"),
     ("South Korea", "KR"), ("Korea, Republic of", "KR"), ("Türkiye", "TR"), ("Turkey", "TR"), ("Vietnam", "VN"), ("Deutschland", "DE"),
     ("Niger", "NE"), ("Nigeria", "NG"), ("Nowhere", ""), ("", ""), ("*aa", "")],
)  # fmt: skip
def test_a_country_is_found_by_its_names_and_codes(name: str, code: str) -> None:
    assert country_code(name) == code


def test_the_setting_comes_before_the_account() -> None:
    assert region_of("NZ", "Australia") == "NZ"
    assert region_of(None, "Australia") == "AU"
    assert region_of(None, "") == ""
