"""Each check, against a sandbox that behaves as assumed, and one that behaves the other way."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from deploy.rehearsal.assumption import Trial, Verdict
from deploy.rehearsal.assumptions.table import ASSUMPTIONS
from tests.deploy.rehearsal.stages import CUSTOMER, TWIN, Twin, record_what_people_did

CONTROL = "_sandbox/switches"
TRIED = [row.name for row in ASSUMPTIONS if isinstance(row.tried, Trial)]


def test_every_assumption_that_is_tried_holds_of_the_sandbox(twin: Twin) -> None:
    record_what_people_did(twin)
    results = twin.rehearse(TRIED).results
    assert [(one.name, one.because) for one in results if one.verdict is not Verdict.HOLDS] == []
    assert twin.leftovers() == []


@pytest.mark.parametrize("name", TRIED)
def test_a_sandbox_that_behaves_the_other_way_is_found_out(twin: Twin, name: str) -> None:
    twin.otherwise(name)
    record_what_people_did(twin)
    assert twin.verdicts([name]) == {name: Verdict.FAILS}
    twin.otherwise()
    twin.rehearse(["empty-list-is-200"])
    assert twin.leftovers() == [] or name == "deleted-profile-is-gone"  # what the sandbox does not delete


def test_another_process_tells_the_sandbox_to_behave_the_other_way(twin: Twin) -> None:
    sandbox = twin.world.sandbox
    for url, name in ((sandbox.klaviyo.url, "null-clears"), (sandbox.omneo.url, "empty-list-is-200")):
        requests.post(f"{url}/{CONTROL}", json={"otherwise": [name]}, timeout=60).raise_for_status()
    verdicts = twin.verdicts(["null-clears", "empty-list-is-200", "taken-title-is-refused"])
    assert [name for name, verdict in verdicts.items() if verdict is Verdict.FAILS] == [
        "null-clears",
        "empty-list-is-200",
    ]
    for url in (sandbox.klaviyo.url, sandbox.omneo.url):
        requests.post(f"{url}/{CONTROL}", json={"otherwise": []}, timeout=60).raise_for_status()
    assert set(twin.verdicts(verdicts).values()) == {Verdict.HOLDS}


def test_a_null_that_clears_nothing_is_found_out_where_a_title_is_shown_late(twin: Twin) -> None:
    twin.otherwise("null-clears")
    subscriptions = {"email": {"marketing": {"consent": "NEVER_SUBSCRIBED"}}}
    attributes = {"title": None, "subscriptions": subscriptions}
    late = {"data": {"type": "profile", "id": "01HCANARY", "attributes": attributes}}
    twin.world.sandbox.klaviyo.fail(1, match="GET /api/profiles/*", status=200, body=late)
    assert twin.verdicts(["null-clears"]) == {"null-clears": Verdict.FAILS}


@pytest.mark.parametrize(("status", "failed"), [("cancelled", 0), ("complete", 1)])
def test_an_import_that_wrote_nothing_tells_nothing_of_its_nulls(
    twin: Twin, status: str, failed: int
) -> None:
    counts = {"total_count": 1, "completed_count": 1 - failed, "failed_count": failed}
    job = {"type": "profile-bulk-import-job", "id": "canary", "attributes": {"status": status, **counts}}
    twin.world.sandbox.klaviyo.fail(
        1, match="GET /api/profile-bulk-import-jobs/*", status=200, body={"data": job}
    )
    assert twin.verdicts(["bulk-null-clears-nothing"]) == {"bulk-null-clears-nothing": Verdict.UNTRIED}


def test_a_filter_by_time_that_is_not_looked_at_is_found_out_by_the_oldest_profile(twin: Twin) -> None:
    omneo = twin.world.sandbox.omneo
    (customer,) = [row for row in omneo.profiles(TWIN) if row["id"] == CUSTOMER]
    page = {"data": [customer], "meta": {"last_page": 1, "total": 1}}
    omneo.fail(2, match="GET /*/api/v3/profiles", status=200, body=page)
    assert twin.verdicts(["profiles-by-time-made"]) == {"profiles-by-time-made": Verdict.FAILS}


def _without_a_time(twin: Twin) -> None:
    profile = {"id": CUSTOMER, "created_at": "canary", "profile_type": "active"}
    twin.world.sandbox.omneo.fail(2, match="GET /*/api/v3/profiles/*", status=200, body={"data": profile})


def _with_times_in_words(twin: Twin) -> None:
    row = {"type": "event", "id": "canary", "attributes": {"timestamp": "2026-01-02T03:04:05Z"}}
    twin.world.sandbox.klaviyo.fail(2, match="GET /api/events", status=200, body={"data": [row]})


@pytest.mark.parametrize(
    ("name", "spoil"),
    [("profiles-by-time-made", _without_a_time), ("twin-topics-have-one-second", _with_times_in_words)],
)
def test_a_time_that_cannot_be_read_ends_a_check_and_not_the_rehearsal(
    twin: Twin, name: str, spoil: Callable[[Twin], Any]
) -> None:
    record_what_people_did(twin)
    spoil(twin)
    (result, other) = twin.rehearse([name, "answers-carry-limits"]).results
    assert (result.verdict, result.because) == (
        Verdict.UNTRIED,
        "an answer has another form than the check can read",
    )
    assert other.verdict is Verdict.HOLDS
