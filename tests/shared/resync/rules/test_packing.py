"""How profiles are packed for imports, and that nothing which would clear a field goes into one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.resync.rules.packing import MOST_BYTES, MOST_PROFILES, Parcel, clears, jobs_of, without_clearing
from shared.resync.rules.place import START, Place


def a_profile(size: int, number: int = 0) -> dict[str, Any]:
    """Return a profile of about this size."""
    return {"type": "profile", "attributes": {"external_id": str(number), "properties": {"a": "x" * size}}}


def as_sent(profiles: list[Any]) -> int:
    """Return the bytes of an import."""
    return len(json.dumps({"data": {"attributes": {"profiles": {"data": profiles}}}}).encode())


def packed(pages: list[list[Any]]) -> list[Parcel]:
    """Pack pages as a run does."""
    parcels = [Parcel(START)]
    for number, page in enumerate(pages, start=1):
        if not parcels[-1].add(page, Place(count=number)):
            parcels.append(Parcel(parcels[-1].ends))
            assert parcels[-1].add(page, Place(count=number))
    return parcels


@given(st.lists(st.lists(st.integers(10, 30_000), max_size=40), max_size=60))
def test_parcels_keep_every_profile_in_its_order_and_to_klaviyos_limits(sizes: list[list[int]]) -> None:
    pages = [[a_profile(size, index) for index, size in enumerate(page)] for page in sizes]
    parcels = packed(pages)
    sent = [row for parcel in parcels for row in parcel.resources]
    assert sent == [row for page in pages for row in page]
    assert [parcel.begins for parcel in parcels[1:]] == [parcel.ends for parcel in parcels[:-1]]
    assert parcels[-1].ends.count == len(pages)
    for parcel in parcels:
        assert len(parcel.resources) <= MOST_PROFILES
        assert len(parcel.resources) <= 40 or as_sent(parcel.resources) <= MOST_BYTES


def test_small_profiles_fill_a_job_by_number_and_large_ones_by_size() -> None:
    small = packed([[a_profile(10)] * 100] * 250)
    assert [len(parcel.resources) for parcel in small] == [10_000, 10_000, 5_000]
    large = packed([[a_profile(2_000)] * 100] * 100)
    assert all(as_sent(parcel.resources) > 0.95 * MOST_BYTES for parcel in large[:-1])


@given(st.lists(st.integers(10, 100_000), max_size=120))
def test_a_page_too_large_for_one_job_becomes_several(sizes: list[int]) -> None:
    profiles = [a_profile(size, number) for number, size in enumerate(sizes)]
    jobs = list(jobs_of(profiles))
    assert [profile for job in jobs for profile in job] == profiles
    assert all(as_sent(job) <= MOST_BYTES for job in jobs)


@pytest.mark.parametrize(
    ("clearing", "rest"),
    [
        (
            {"attributes": {"first_name": None, "email": "canary@example.org"}},
            {"email": "canary@example.org"},
        ),
        ({"attributes": {"location": {"city": None, "zip": "1"}}}, {"location": {"zip": "1"}}),
        ({"attributes": {"location": {"city": None}}}, {}),
        ({"attributes": {}, "meta": {"patch_properties": {"unset": ["omneo_tier"]}}}, {}),
    ],
)
def test_what_would_clear_a_field_stays_out_of_an_import(clearing: Any, rest: Any) -> None:
    assert clears(clearing)
    assert without_clearing(clearing) == {"attributes": rest}
    assert not clears({"attributes": rest})
