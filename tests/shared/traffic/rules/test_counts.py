"""Tables of counts: bounded, mergeable in any order, and free of what could be somebody's."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.traffic.rules.counts import (
    MOST_ROWS,
    OTHERS,
    UNSHOWN,
    Row,
    Tally,
    What,
    add,
    decoded,
    encoded,
    merged,
    message_shown,
    name_shown,
    reason_shown,
)

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
rows = st.builds(Row, st.sampled_from(["metric", "rewards"]), st.sampled_from(What), st.text(max_size=3))
tallies = st.builds(
    Tally, st.integers(1, 9), st.integers(0, 99).map(lambda minutes: NOON + timedelta(minutes=minutes))
)
tables = st.dictionaries(rows, tallies, max_size=5)


@given(st.lists(tables, max_size=4))
def test_tables_come_to_the_same_in_any_order(parts: list[dict[Row, Tally]]) -> None:
    assert merged(parts) == merged(parts[::-1]) == merged([merged(parts[:2]), merged(parts[2:])])


@given(tables)
def test_a_table_comes_back_as_it_was_kept(table: dict[Row, Tally]) -> None:
    assert decoded(encoded(table)) == table


def test_what_a_newer_revision_counts_beside_is_left_out() -> None:
    known = encoded({Row("metric", What.DEAD): Tally(1, NOON)})
    newer = {**known[0], "what": "postponed"}
    assert list(decoded([newer, {"count": 1}, *known])) == [Row("metric", What.DEAD)]
    assert decoded(None) == {}


def test_a_caller_cannot_make_a_table_grow_without_end() -> None:
    table: dict[Row, Tally] = {}
    for number in range(1000):
        add(table, Row("metric", What.REFUSED, f"m{number}", f"400, {number}"), Tally(1, NOON))
    assert len(table) == MOST_ROWS + 1
    assert table[Row("metric", What.REFUSED, OTHERS, OTHERS)].count == 1000 - MOST_ROWS


def test_a_full_table_still_counts_what_it_knows() -> None:
    table = {Row("metric", What.ACCEPTED, f"m{number}"): Tally(1, NOON) for number in range(MOST_ROWS)}
    add(table, Row("metric", What.ACCEPTED, "m7"), Tally(2, NOON))
    assert table[Row("metric", What.ACCEPTED, "m7")].count == 3
    assert len(table) == MOST_ROWS


@pytest.mark.parametrize("name", ["a@b.example", "+61 400 123 456", "0400-123-456", "x\ny", "\ud800"])
def test_what_could_be_somebodys_is_not_shown(name: str) -> None:
    assert name_shown(name) == UNSHOWN
    assert message_shown(f"attributes.properties.{name} is too long.") == UNSHOWN
    assert reason_shown(400, name) == f"400, {UNSHOWN}"


@pytest.mark.parametrize("name", ["Placed Order", "Tier 2026-11", "Über €5", "x" * 128])
def test_the_name_of_a_metric_is_shown(name: str) -> None:
    assert name_shown(f" {name} ") == name


def test_the_last_time_is_the_latest_of_both() -> None:
    table = {Row("metric", What.DEAD): Tally(1, NOON)}
    add(table, Row("metric", What.DEAD), Tally(1, NOON - timedelta(hours=1)))
    assert table[Row("metric", What.DEAD)] == Tally(2, NOON)
