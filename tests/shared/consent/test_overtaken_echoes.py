"""A note of our own call is no excuse for dropping what a person did after we called the other way."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.consent.echo_notes import EchoNotes
from shared.consent.echoes import is_echo as is_our_echo
from shared.consent_events import Channel, Direction, SystemEvent
from shared.storage.sqlite import SqliteDocuments

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TOPICS: dict[Direction, str] = {
    "in": "subscribed_to_sms_marketing",
    "out": "unsubscribed_from_sms_marketing",
}


class Clock:
    """A clock that a test moves."""

    now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.mark.parametrize(
    ("calls", "event", "is_echo"),
    [
        ([("out", 0)], ("out", 60), True),
        ([("out", 0), ("in", 600)], ("in", 630), True),
        ([("out", 0), ("in", 600)], ("out", 30), True),  # late, but of its time
        ([("out", 0), ("in", 600)], ("out", 700), False),  # she opted out herself
        ([("in", 0), ("out", 600)], ("out", 630), True),
        ([("in", 0), ("out", 600)], ("in", 30), True),
        ([("in", 0), ("out", 60)], ("in", 90), True),  # Klaviyo was slow with our first call
        ([("in", 0), ("out", 60)], ("in", 200), False),  # she opted in herself
        ([("in", 0), ("out", 600)], ("in", 600), False),
        ([("out", 0), ("in", 600)], ("out", 600), False),
        ([("in", 0), ("out", 600), ("in", 900)], ("in", 930), True),
    ],
)
def test_what_comes_after_our_call_the_other_way_is_a_persons(
    tmp_path: Path, calls: list[tuple[Direction, int]], event: tuple[Direction, int], is_echo: bool
) -> None:
    clock = Clock()
    documents = SqliteDocuments(tmp_path / "documents.db")
    notes = EchoNotes(documents, clock)
    for direction, seconds in calls:
        clock.now = NOON + timedelta(seconds=seconds)
        notes.note("acme", "01HX", Channel.SMS, direction)
    clock.now = NOON + timedelta(hours=1)
    direction, seconds = event
    came = SystemEvent(id="1", topic=TOPICS[direction], profile="01HX", at=NOON + timedelta(seconds=seconds))
    assert is_our_echo(came, notes.notes_of("acme", "01HX"), []) is is_echo
    documents.close()
