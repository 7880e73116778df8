"""Every reason has its sentence."""

from enum import StrEnum

import pytest

from shared.consent.rules.step import Outcome, Reason
from shared.explain.rules.plain_words import CONSENT, EXCLUDED, LEFT_OUT, MATCHED, OUTCOMES
from shared.profiles.klaviyo_import import LeftOut
from shared.profiles.rules.draft import NoteReason
from shared.profiles.rules.exclusions import Exclusion
from shared.profiles.rules.sync_plan import Absence


@pytest.mark.parametrize(
    ("reasons", "words"),
    [
        (Exclusion, EXCLUDED),
        (Absence, EXCLUDED),
        (NoteReason, LEFT_OUT),
        (LeftOut, LEFT_OUT),
        (Outcome, OUTCOMES),
        (Reason, CONSENT),
    ],
)
def test_every_reason_has_words(reasons: type[StrEnum], words: dict[str, str]) -> None:
    assert [reason for reason in reasons if not words.get(reason)] == []


def test_the_words_are_sentences() -> None:
    for words in (MATCHED, EXCLUDED, LEFT_OUT, OUTCOMES, CONSENT):
        assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in words.values())
