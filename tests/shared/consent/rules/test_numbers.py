"""Whose phone number an opt-in to text messages is for, where nothing but the email says who it is."""

from datetime import UTC, datetime

import pytest

from shared.consent.rules.decisions import TABLE, Decided
from shared.consent.rules.numbers import without_decision_of_another_number
from shared.consent_events import Decision

HERS, ANOTHERS = "+61400000123", "+61400000999"
OPT_IN = "subscribed_to_sms_marketing"
OPT_OUT = "unsubscribed_from_sms_marketing"


def event(topic: str) -> Decided:
    return Decided("E1", topic, "K1", datetime(2026, 11, 21, tzinfo=UTC), TABLE[topic].decision)


@pytest.mark.parametrize(
    ("in_klaviyo", "in_omneo", "names_another", "counts"),
    [
        (HERS, HERS, False, True),
        (HERS, HERS, True, True),  # she was deleted in Omneo and has come back as a new customer
        (ANOTHERS, HERS, False, False),
        (ANOTHERS, HERS, True, False),
        ("", HERS, False, False),  # the number is gone from Klaviyo, and nothing tells which it was
        (HERS, None, False, True),
        (HERS, None, True, False),
    ],
)
def test_an_opt_in_counts_for_the_number_it_was_made_with(
    in_klaviyo: str, in_omneo: str | None, names_another: bool, counts: bool
) -> None:
    found = without_decision_of_another_number(
        event(OPT_IN), in_klaviyo=in_klaviyo, in_omneo=in_omneo, names_another=names_another
    )
    assert found.decision is (Decision.OPT_IN if counts else Decision.NONE)
    assert found.signal == int(counts)


@pytest.mark.parametrize(
    ("in_klaviyo", "in_omneo", "names_another", "counts"),
    [
        (HERS, HERS, True, True),
        (ANOTHERS, HERS, False, True),  # in doubt it is hers
        (ANOTHERS, HERS, True, False),
        ("", HERS, True, True),
        (ANOTHERS, None, True, True),
    ],
)
def test_an_opt_out_counts_unless_it_is_known_to_be_anothers(
    in_klaviyo: str, in_omneo: str | None, names_another: bool, counts: bool
) -> None:
    found = without_decision_of_another_number(
        event(OPT_OUT), in_klaviyo=in_klaviyo, in_omneo=in_omneo, names_another=names_another
    )
    assert found.decision is (Decision.OPT_OUT if counts else Decision.NONE)


@pytest.mark.parametrize("topic", sorted(TABLE.keys() - {OPT_IN, OPT_OUT}))
def test_nothing_else_minds_the_number(topic: str) -> None:
    found = without_decision_of_another_number(
        event(topic), in_klaviyo=ANOTHERS, in_omneo=HERS, names_another=True
    )
    assert found == event(topic)
