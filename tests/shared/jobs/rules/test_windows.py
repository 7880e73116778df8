"""Windows of ten seconds: every moment lies in one, and nobody who may be too late adds to it."""

import re
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from shared.jobs.rules.windows import CLOCKS_APART, LENGTH, Window, hashed

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
moments = st.timedeltas(timedelta(days=-20_000), timedelta(days=20_000)).map(lambda passed: NOON + passed)


def test_one_begins_every_ten_seconds() -> None:
    first = Window.at(NOON)
    assert Window.at(NOON + timedelta(seconds=9, microseconds=999_999)) == first
    assert Window.at(NOON + timedelta(seconds=10)) == first.next
    assert first.end == NOON + timedelta(seconds=10)
    assert first.due == NOON + timedelta(seconds=12)


def test_its_number_is_the_same_for_each_version_of_the_code_since_it_names_a_task() -> None:
    assert Window.at(datetime(1970, 1, 1, tzinfo=UTC)).number == 0
    assert Window.at(NOON).number == NOON.timestamp() // 10


@given(moment=moments)
def test_a_moment_lies_in_its_window_and_is_handled_after_its_end(moment: datetime) -> None:
    window = Window.at(moment)
    assert window.end - LENGTH <= moment < window.end
    assert window.due > moment
    assert Window.at(window.end) == window.next


@given(moment=moments, hours=st.integers(-12, 14))
def test_the_zone_of_a_clock_does_not_matter(moment: datetime, hours: int) -> None:
    assert Window.at(moment.astimezone(timezone(timedelta(hours=hours)))) == Window.at(moment)


@given(moment=moments, behind=st.timedeltas(timedelta(), CLOCKS_APART))
def test_one_that_is_over_on_the_fastest_clock_counts_as_over_on_ours(
    moment: datetime, behind: timedelta
) -> None:
    window = Window.at(moment)
    assert window.may_be_over(window.end - behind)
    assert not window.may_be_over(window.end - CLOCKS_APART - timedelta(microseconds=1))
    assert not window.next.may_be_over(window.end)  # so two looks are enough


def test_the_clocks_of_two_machines_may_be_four_seconds_apart() -> None:
    window = Window.at(NOON)
    assert not window.may_be_over(NOON + timedelta(seconds=5, microseconds=999_999))
    assert window.may_be_over(NOON + timedelta(seconds=6))


def test_a_task_has_a_name_of_its_own_for_each_window_tenant_and_profile() -> None:
    window = Window.at(NOON)
    names = {
        window.task_name("flush", "acme", "01P"),
        window.next.task_name("flush", "acme", "01P"),
        window.task_name("flush", "acme", "01Q"),
        window.task_name("flush", "acme-stg", "01P"),
        window.task_name("flush", "acm", "e01P"),
        window.task_name("sync", "acme", "01P"),
    }
    assert len(names) == 6
    assert window.task_name("flush", "acme", "01P") == Window.at(NOON).task_name("flush", "acme", "01P")
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,500}", name) for name in names)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1))
def test_any_text_can_be_hashed_and_where_it_is_split_matters(parts: list[str]) -> None:
    assert re.fullmatch(r"[0-9a-f]{40}", hashed(*parts))
    assert hashed(*parts) != hashed(*parts, "")
    assert len(parts) == 1 or hashed("".join(parts)) != hashed(*parts)
