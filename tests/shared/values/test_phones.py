"""Phone numbers to E.164, and the country that a number without a prefix belongs to."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.values.phones import country_code, e164, phone_of, region_of, regions


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
        ("0061 412 345 678", "AU", "+61412345678"),
        ("0061412345678", "", "+61412345678"),
        ("tel:0061412345678", "NZ", "+61412345678"),
        ("0044 7400 123456", "US", "+447400123456"),
        ("+61 (0)412 345 678", "GB", "+61412345678"),
        ("TEL:+61-412-345-678;ext=5", "GB", "+61412345678"),
        ("+61\n412\t345 678", "", "+61412345678"),
        ("+61\u00b7412_345\u2022678", "", "+61412345678"),
        ("+1 800 FLOWERS", "US", None),  # an event would leave it out as well
        ("00 12 34 56 78", "AU", None),
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
        ({"mobile_phone": 412345678.0, "mobile_phone_country": ""}, "+61412345678"),
        ({"mobile_phone": " 0412\u200b 345 678", "mobile_phone_country": None}, "+61412345678"),
        (
            {"mobile_phone": "\uff10\uff14\uff11\uff12 345 678", "mobile_phone_country": "null"},
            "+61412345678",
        ),
        ({"mobile_phone": None}, None),
        ({"mobile_phone": ["+61412345678"]}, None),
    ],
)
def test_omneos_own_country_comes_before_the_tenants(profile: dict[str, Any], expected: str | None) -> None:
    assert phone_of(profile, "AU") == expected


@pytest.mark.parametrize(
    "stated",
    [
        "61",
        "+61",
        "0061",
        61,
        61.0,
        " 61 ",
        "\uff16\uff11",
        "(61)",
        "AU",
        "au",
        "AUS",
        "Australia",
        "australia ",
        "AUSTRALIA",
        "\uff21\uff35",
        "Commonwealth of Australia",
    ],
)
def test_a_stated_country_may_be_a_calling_code_an_iso_code_or_a_name(stated: Any) -> None:
    profile = {"mobile_phone": "0412 345 678", "mobile_phone_country": stated}
    assert phone_of(profile, "GB") == "+61412345678"
    assert phone_of(profile, "") == "+61412345678"


@pytest.mark.parametrize(
    ("stated", "mobile", "region", "expected"),
    [
        ("852", "5123 4567", "SG", "+85251234567"),
        ("852", "5123 4567", "HK", "+85251234567"),
        ("353", "085 012 3456", "GB", "+353850123456"),
        ("1-684", "684 733 1234", "AU", "+16847331234"),
        ("1", "416 555 0123", "CA", "+14165550123"),
        ("UK", "07400 123456", "AU", "+447400123456"),
    ],
)
def test_a_calling_code_of_any_length_names_its_country(
    stated: str, mobile: str, region: str, expected: str
) -> None:
    assert phone_of({"mobile_phone": mobile, "mobile_phone_country": stated}, region) == expected


@pytest.mark.parametrize(
    "stated",
    [
        "Atlantis",
        "ZZ",
        "EU",
        "036",
        "826",
        "AU/NZ",
        "unknown",
        "999",
        "0",
        "12345",
        "?",
        ["61"],
        True,
        {"code": 61},
    ],
)
def test_a_stated_country_that_cannot_be_read_leaves_the_number_out(stated: Any) -> None:
    assert phone_of({"mobile_phone": "0412 345 678", "mobile_phone_country": stated}, "AU") is None
    whole = {"mobile_phone": "+61 412 345 678", "mobile_phone_country": stated}
    assert phone_of(whole, "NZ") == "+61412345678"


@pytest.mark.parametrize(
    ("code", "has_phones"),
    [("AU", True), ("GB", True), ("UK", False), ("EU", False), ("ZZ", False), ("XX", False), ("AA", False), ("au", False), ("", False)],
)  # fmt: skip
def test_a_region_is_a_country_with_phones(code: str, has_phones: bool) -> None:
    assert (code in regions()) is has_phones


@pytest.mark.parametrize(
    ("name", "code"),
    [("Australia", "AU"), ("Denmark", "DK"), ("denmark ", "DK"), ("United States", "US"), ("United States of America", "US"),
     ("USA", "US"), ("United Kingdom", "GB"), ("GB", "GB"), ("UK", "GB"), ("uk", "GB"), ("the Netherlands", "NL"), ("The Netherlands", "NL"), ("Czechia", "CZ"), ("Czech Republic", "CZ"),
     ("South Korea", "KR"), ("Korea, Republic of", "KR"), ("Türkiye", "TR"), ("Turkey", "TR"), ("Vietnam", "VN"), ("Deutschland", "DE"),
     ("Great Britain", "GB"), ("England", "GB"), ("U.K.", "GB"), ("U.S.A.", "US"), ("u.s.", "US"), ("Holland", "NL"), ("UAE", "AE"),
     ("Espana", "ES"), ("Cote d\u2019Ivoire", "CI"), ("Ivory Coast", "CI"), ("\uff27\uff22\uff32", "GB"), ("Osterreich", "AT"), ("Republic of Korea", "KR"),
     ("Republic of China", ""), ("Niger", "NE"), ("Nigeria", "NG"), ("Nowhere", ""), ("", ""), ("*aa", "")],
)  # fmt: skip
def test_a_country_is_found_by_its_names_and_codes(name: str, code: str) -> None:
    assert country_code(name) == code


def test_the_setting_comes_before_the_account() -> None:
    assert region_of("NZ", "Australia") == "NZ"
    assert region_of(None, "Australia") == "AU"
    assert region_of(None, "") == ""
