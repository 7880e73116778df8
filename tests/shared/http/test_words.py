"""What is shown of a service's own words: what it explains, and no value that it quotes."""

import pytest

from shared.http.words import without_values
from tests.support.world import EMAIL

PLAIN = [
    "You must have Advanced KDP enabled to access this endpoint.",
    "Entitlement to create object type not found.",
    "Missing scopes: lists:write, profiles:read",
    "Your account's plan doesn't include this; ask (please) your owner/manager.",
    "This action is unauthorized.",
    "The scopes 'lists:write, data-privacy:write' are missing.",
]


@pytest.mark.parametrize("text", PLAIN[:-1])
def test_an_explanation_is_shown_whole(text: str) -> None:
    assert without_values(text) == text


def test_quoted_scopes_are_shown() -> None:
    assert without_values(PLAIN[-1]) == "The scopes lists:write, data-privacy:write are missing."


@pytest.mark.parametrize(
    "value",
    [
        EMAIL, f"<{EMAIL}>", f"({EMAIL})", EMAIL.replace("@", "%40"), EMAIL.replace("@", "\uff20"), "+61412345678",
        "0412 345 678", "\u0660\u0664\u0661\u0662", "01HCANARY", "'canary jane'", '"Canary Jane"', "`canary`", "canary_jane", "can\u00e1ry",
        "https://example.org/canary", "canary.jane", "canary=1",
    ],
)  # fmt: skip
def test_whatever_could_be_a_value_is_left_out(value: str) -> None:
    assert without_values(f"The profile {value} may not be read") == "The profile ... may not be read"


def test_a_long_explanation_is_cut_between_two_words() -> None:
    shown = without_values("word " * 1000)
    assert len(shown) <= 310
    assert shown.endswith("word ...")


def test_nothing_is_nothing() -> None:
    assert without_values("") == ""
