"""What a data-source-record call means, and how records are put together and taken apart."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidPayloadError, PayloadTooLargeError
from shared.jobs.jobs import TASK_BYTES, SendRecords, write_job
from shared.klaviyo.resources import DATA_SOURCES
from shared.records.rules.record import (
    BULK_BYTES,
    MOST_RECORDS,
    PARCEL_BYTES,
    RECORD_BYTES,
    RECORD_ID,
    apart,
    blamed,
    bytes_of,
    bytes_sent,
    data_source_named,
    fitting,
    parcels,
    read_records,
)
from tests.support.world import TENANT, Clock

POINTER = "/data/attributes/data-source-records/data"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
a_record = st.dictionaries(texts, st.integers() | texts, min_size=1, max_size=3)
some_records = st.lists(a_record, min_size=1, max_size=40)


def a_call(**fields: Any) -> dict[str, Any]:
    return {"data_source": "rewards", **fields}


@pytest.mark.parametrize("title", list(DATA_SOURCES))
@pytest.mark.parametrize(
    "spelled", [str, str.lower, str.upper, lambda title: title.split()[1], lambda title: f" {title.lower()} "]
)
def test_each_data_source_is_known_by_its_title_and_its_short_name_in_any_case(
    title: str, spelled: Any
) -> None:
    assert data_source_named(spelled(title)) == title


@pytest.mark.parametrize(
    "name",
    [
        "omneo-rewards",
        "Omneo_Rewards",
        "\uff52\uff45\uff57\uff41\uff52\uff44\uff53",
        "re\u200bwards",
        "\ufeffREWARDS\u00a0",
        "omneo\u00a0 rewards",
        "Omneo - Rewards",
    ],
)
def test_a_data_source_is_known_in_whatever_way_its_words_are_written(name: str) -> None:
    assert data_source_named(name) == "Omneo Rewards"


@pytest.mark.parametrize(
    "name", ["", " ", "omneo", "reward", "Omneo Omneo Rewards", "canary", None, 7, ["rewards"]]
)
def test_an_unknown_data_source_is_refused_and_the_six_are_named(name: object) -> None:
    with pytest.raises(InvalidPayloadError) as refused:
        read_records({"data_source": name, "record": {"a": 1}}, id="c")
    assert all(title in str(refused.value) for title in DATA_SOURCES)
    assert "canary" not in str(refused.value)


def test_one_record_carries_the_calls_own_id() -> None:
    read = read_records(a_call(record={"reward_id": 7}), id="c1")
    assert read.data_source == "Omneo Rewards"
    assert read.records == ({"reward_id": 7, "omneo_record_id": "c1"},)


def test_records_of_a_list_keep_their_order_and_carry_ids_of_their_own() -> None:
    read = read_records(a_call(records=[{"n": n} for n in range(500)]), id="c1")
    assert [record["n"] for record in read.records] == list(range(500))
    assert len({record[RECORD_ID] for record in read.records}) == 500


@pytest.mark.parametrize(
    ("given_id", "kept"),
    [
        ("r-7", "r-7"),
        (7, "7"),
        (7.0, "7"),
        (" 7.0 ", "7"),
        ("\uff17", "7"),
        (0, "0"),
        ("007", "007"),
        ("", "c1"),
        (None, "c1"),
        (True, "c1"),
        ([1], "c1"),
    ],
)
def test_an_id_that_the_caller_gave_is_kept_and_an_empty_one_is_none(given_id: object, kept: object) -> None:
    (record,) = read_records(a_call(record={"a": 1, RECORD_ID: given_id}), id="c1").records
    assert record == {"a": 1, RECORD_ID: kept}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "object"),
        (a_call(), "record must be an object"),
        (a_call(record=None), "record must be an object"),
        (a_call(record={}), "record must be an object with at least one property"),
        (a_call(record=[{"a": 1}]), "record must be an object"),
        (a_call(record={"a": 1}, records=[]), "not both"),
        (a_call(records=[]), "1 to 500"),
        (a_call(records={"a": 1}), "1 to 500"),
        (a_call(records=[{"a": 1}] * 501), "1 to 500"),
        (a_call(records=[{"a": 1}, "canary"]), "records[1]"),
        (a_call(records=[{"a": 1}, {}]), "records[1]"),
    ],
)  # fmt: skip
def test_a_body_that_says_nothing_is_refused_by_field(body: object, says: str) -> None:
    with pytest.raises(InvalidPayloadError) as refused:
        read_records(body, id="c1")
    assert says in str(refused.value)
    assert "canary" not in str(refused.value)


def test_a_record_is_at_most_512_kb_with_its_id() -> None:
    room = RECORD_BYTES - bytes_of({"a": "", RECORD_ID: "c1"})
    read_records(a_call(record={"a": "x" * room}), id="c1")
    with pytest.raises(PayloadTooLargeError, match=r"records\[1\] must be at most 512 KB"):
        read_records(a_call(records=[{"a": 1}, {"a": "x" * (room + 1)}]), id="c1")


@given(st.lists(st.integers(1, 100), min_size=1, max_size=600), st.integers(1, 40_000))
def test_what_goes_together_is_as_much_as_fits_and_always_something(sizes: list[int], most: int) -> None:
    count = fitting(sizes, most_bytes=most)
    assert 1 <= count <= MOST_RECORDS
    assert count == 1 or sum(sizes[:count]) <= most
    assert count in (len(sizes), MOST_RECORDS) or sum(sizes[: count + 1]) > most


def test_a_parcel_is_full_to_the_byte() -> None:
    """A comma stands between two records."""
    room = PARCEL_BYTES - 2 - bytes_of({"a": ""}) - bytes_of({"a": 1})
    assert len(list(parcels([{"a": 1}, {"a": "x" * room}]))) == 1
    assert len(list(parcels([{"a": 1}, {"a": "x" * (room + 1)}]))) == 2


@pytest.mark.parametrize("text", ["x" * 400_000, "\u00e9" * 60_000, "\U0001f600" * 40_000, "\x01" * 80_000])
def test_every_parcel_fits_a_task_and_none_is_lost(text: str) -> None:
    records = [{"n": n, "text": text} for n in range(5)] + [{"n": n} for n in range(5, 500)]
    parts = list(parcels(records))
    assert [record for part in parts for record in part] == records
    for part in parts:
        job = SendRecords(tenant=TENANT, accepted_at=Clock()(), data_source="Omneo Rewards", records=part)
        assert len(write_job(job)) < TASK_BYTES
        assert sum(map(bytes_of, part)) <= PARCEL_BYTES
    assert len(parts) <= 5


def test_a_bulk_job_holds_500_records_or_4_mb() -> None:
    assert fitting([bytes_sent({"a": 1})] * 600, most_bytes=BULK_BYTES) == MOST_RECORDS
    assert fitting([bytes_sent({"a": "x" * 500_000})] * 20, most_bytes=BULK_BYTES) == 7
    assert fitting([bytes_sent({"a": "\u20ac" * 160_000})] * 20, most_bytes=BULK_BYTES) == 4


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ([], []),
        (["/data"], []),
        ([f"{POINTER}/3/attributes/record"], [3]),
        ([f"{POINTER}/3"], [3]),
        ([f"{POINTER}/3/attributes/record", f"{POINTER}/0", f"{POINTER}/3/type"], [0, 3]),
        ([f"{POINTER}/4", f"{POINTER}/5/attributes/record", f"{POINTER}/7"], [4]),
        ([f"{POINTER}/-1", f"{POINTER}/x", f"{POINTER}/99999", POINTER], []),
        (["/data/attributes/data-source-record/data/1"], []),
    ],
)  # fmt: skip
def test_a_refusal_blames_the_records_that_it_names(fields: list[str], found: list[int]) -> None:
    assert blamed(fields, 5) == found


@given(some_records, st.data())
def test_what_was_refused_is_taken_apart_until_single_records_are_left(
    records: list[dict[str, Any]], data: st.DataObject
) -> None:
    numbered = [{"n": n} for n in range(len(records))]
    waiting, alone = [tuple(numbered)], list[dict[str, Any]]()
    while waiting:
        part = waiting.pop()
        if len(part) == 1:
            alone += part
            continue
        bad = data.draw(st.lists(st.integers(0, len(part) - 1), unique=True).map(sorted))
        smaller = apart(part, bad)
        assert all(0 < len(piece) < len(part) for piece in smaller)
        waiting += smaller
    assert sorted(record["n"] for record in alone) == [record["n"] for record in numbered]
