"""How a base is packed, where a run is in a list that moves, and how far it is said to be."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.resync.rules.run import (
    MOST_BYTES,
    MOST_PROFILES,
    Cursor,
    Kind,
    Options,
    PageWork,
    Parcel,
    in_parts,
    jobs_of,
    progress,
    unseen,
)


def a_profile(size: int, number: int = 0) -> dict[str, Any]:
    """Return a profile of about this size."""
    return {"type": "profile", "attributes": {"external_id": str(number), "properties": {"a": "x" * size}}}


def as_sent(profiles: list[Any]) -> int:
    """Return the bytes of an import."""
    return len(json.dumps({"data": {"attributes": {"profiles": {"data": profiles}}}}).encode())


def packed(pages: list[PageWork]) -> list[Parcel]:
    """Pack pages as a run does."""
    parcels = [Parcel()]
    for page in pages:
        if not parcels[-1].fits(page):
            parcels.append(Parcel())
        parcels[-1].add(page)
    return parcels


@given(st.lists(st.lists(st.integers(10, 30_000), max_size=40), max_size=60))
def test_parcels_keep_every_profile_in_its_order_and_to_klaviyos_limits(sizes: list[list[int]]) -> None:
    pages = [
        PageWork(number, Cursor(number + 1), tuple(a_profile(size, index) for index, size in enumerate(page)))
        for number, page in enumerate(sizes, start=1)
    ]
    parcels = packed(pages)
    assert [page for parcel in parcels for page in parcel.pages] == pages
    for parcel in parcels:
        assert parcel.profiles <= MOST_PROFILES
        assert len(parcel.pages) == 1 or as_sent(parcel.resources) <= MOST_BYTES


def test_small_profiles_fill_a_job_by_number_and_large_ones_by_size() -> None:
    small = packed([PageWork(n, Cursor(n + 1), (a_profile(10),) * 100) for n in range(250)])
    assert [parcel.profiles for parcel in small] == [10_000, 10_000, 5_000]
    large = packed([PageWork(n, Cursor(n + 1), (a_profile(2_000),) * 100) for n in range(100)])
    assert all(parcel.size > 0.95 * MOST_BYTES for parcel in large[:-1])


@given(st.lists(st.integers(10, 100_000), max_size=120))
def test_a_page_too_large_for_one_job_becomes_several(sizes: list[int]) -> None:
    profiles = [a_profile(size, number) for number, size in enumerate(sizes)]
    jobs = list(jobs_of(profiles))
    assert [profile for job in jobs for profile in job] == profiles
    assert all(as_sent(job) <= MOST_BYTES for job in jobs)


@pytest.mark.parametrize(
    ("ids", "seen", "count"),
    [
        ("abc", "abc", 0),  # nothing has moved
        ("bcd", "abc", 1),  # one before it has gone
        ("cde", "abc", 2),
        ("xab", "abc", 0),  # one came before it: what moved back is read twice
        ("def", "abc", None),  # more has gone than a page
        ("bd", "abc", 1),  # one of the page itself has gone
        ("", "abc", None),
    ],
)
def test_what_moved_onto_a_page_that_was_read_is_what_comes_after_all_that_was_seen(
    ids: str, seen: str, count: int | None
) -> None:
    assert unseen(list(ids), list(seen)) == count


def test_the_time_left_is_told_once_there_is_a_speed() -> None:
    assert progress(0, 1000, timedelta()).left is None
    assert progress(250, 1000, timedelta(minutes=1)).per_minute == 250
    assert progress(250, 1000, timedelta(minutes=1)).left == timedelta(minutes=3)
    assert progress(1100, 1000, timedelta(minutes=1)).left == timedelta()


@pytest.mark.parametrize(
    ("options", "sends", "sends_profiles"),
    [
        (Options(), True, True),
        (Options(only_consent=True), True, False),
        (Options(dry_run=True), False, False),
        (Options(kind=Kind.RECONCILE), False, False),
        (Options(kind=Kind.REPAIR), True, False),
        (Options(kind=Kind.REPAIR, dry_run=True), False, False),
    ],
)
def test_what_a_run_sends(options: Options, *, sends: bool, sends_profiles: bool) -> None:
    assert (options.sends, options.sends_profiles) == (sends, sends_profiles)


def test_parts_are_full_but_for_the_last() -> None:
    assert in_parts(range(5), 2) == [[0, 1], [2, 3], [4]]
    assert in_parts([], 2) == []
