"""A job is found by whom it is about, and by nothing else that stands in it."""

from typing import Any

import pytest

from shared.jobs.rules.persons import MOST_NAMES, hashed_name, names_in

KEY = "00" * 32


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"kind": "sync-profile", "id": "job", "tenant": "acme", "profile_id": "01J"}, ["01J"]),
        ({"kind": "compare-consent", "id": "job", "profile_ids": ["01B", "01A", "01B"]}, ["01A", "01B"]),
        ({"kind": "flush-inbox", "id": "job", "profile": "01K"}, ["01K"]),
        ({"events": [{"id": "e1", "topic": "t", "profile": "01K"}]}, ["01K"]),
        ({"profile": {"data": {"id": "01K", "attributes": {"external_id": "01O"}}}}, ["01K", "01O"]),
        ({"profile": {"data": {"attributes": {"location": {"id": "x"}}}}}, []),
        ({"records": [{"who": " Canary-Jane@Example.org "}]}, ["canary-jane@example.org"]),
        ({"properties": {"order": {"id": "7"}, "note": "write to canary@example.org now"}}, []),
        ({"profile_id": "", "omneo_profile_id": " "}, []),
        ([], []),
        (None, []),
    ],
    ids=str,
)
def test_ids_and_addresses_of_persons_are_found(body: Any, names: list[str]) -> None:
    assert names_in(body) == names


def test_no_more_are_kept_than_a_document_has_room_for() -> None:
    assert len(names_in({"profile_ids": [f"{number:04}" for number in range(2000)]})) == MOST_NAMES


def test_an_address_is_one_however_it_is_written_and_an_id_is_as_it_is() -> None:
    assert hashed_name(KEY, "canary-jane@example.org") == hashed_name(KEY, " Canary-JANE@example.org")
    assert hashed_name(KEY, "01j") != hashed_name(KEY, "01J")
    assert hashed_name(KEY, "01J") != hashed_name("11" * 32, "01J")
