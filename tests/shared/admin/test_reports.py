"""The last status report of a tenant: given for a minute, and never in the way of a newer one."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from shared.admin.reports import RECENT, StatusReports
from shared.storage.documents import Documents
from tests.support import stores
from tests.support.world import Clock

documents = stores.documents
REPORT: dict[str, Any] = {"state": "ok", "findings": [{"check": "klaviyo", "safe": False}], "left_behind": []}


@pytest.fixture
def reports(documents: Documents, clock: Clock) -> StatusReports:
    """Return reports on the test's clock."""
    return StatusReports(documents, clock)


def test_there_is_none_at_first_and_forgetting_none_is_fine(reports: StatusReports) -> None:
    assert reports.last("acme") is None
    reports.forget("acme")
    assert reports.last("acme", within=timedelta(days=1)) is None


def test_a_report_comes_back_as_it_was(reports: StatusReports) -> None:
    odd = {**REPORT, "$list": [[1.5, None], {"__x__": "ü 東京"}], "": {"$sealed": "x"}}
    reports.keep("acme", odd)
    assert reports.last("acme") == odd
    assert json.dumps(reports.last("acme")) == json.dumps(odd)


def test_it_is_recent_for_a_minute_and_not_a_moment_longer(reports: StatusReports, clock: Clock) -> None:
    reports.keep("acme", REPORT)
    clock.advance(RECENT.total_seconds() - 0.001)
    assert reports.last("acme") == REPORT
    clock.advance(0.001)
    assert reports.last("acme") is None
    assert reports.last("acme", within=timedelta(days=1)) == REPORT


def test_the_newest_takes_the_place_of_the_one_before(reports: StatusReports, clock: Clock) -> None:
    reports.keep("acme", REPORT)
    clock.advance(59)
    reports.keep("acme", {**REPORT, "state": "critical"})
    clock.advance(59)
    assert reports.last("acme") == {**REPORT, "state": "critical"}


def test_after_forgetting_the_next_look_is_a_fresh_one(reports: StatusReports) -> None:
    reports.keep("acme", REPORT)
    reports.forget("acme")
    assert reports.last("acme", within=timedelta(days=1)) is None


def test_tenants_do_not_see_each_others(reports: StatusReports) -> None:
    reports.keep("acme", REPORT)
    assert reports.last("acme-stg") is None
    reports.forget("acme-stg")
    assert reports.last("acme") == REPORT


def test_one_that_expired_long_ago_but_was_not_removed_is_not_given(
    reports: StatusReports, clock: Clock
) -> None:
    reports.keep("acme", REPORT)
    clock.advance(timedelta(days=2).total_seconds())
    assert reports.last("acme", within=timedelta(days=1)) is None


def test_it_expires_so_that_the_store_can_remove_it(documents: Documents, reports: StatusReports) -> None:
    reports.keep("acme", REPORT)
    reports.keep("acme", REPORT)
    kept = documents.get("tenants/acme/status", "last")
    assert kept is not None
    assert kept.fields["expire_at"] == Clock().now + timedelta(days=1)


def test_keeping_and_forgetting_at_once_fail_nobody(documents: Documents, clock: Clock) -> None:
    overtaken: Any = stores.Overtaken(documents, lambda: StatusReports(documents, clock).forget("acme"))
    StatusReports(documents, clock).keep("acme", REPORT)
    StatusReports(overtaken, clock).keep("acme", {**REPORT, "state": "critical"})
    assert StatusReports(documents, clock).last("acme") is None, "what was forgotten is looked at afresh"


def test_any_number_keep_at_once_and_one_of_them_stands(documents: Documents, clock: Clock) -> None:
    start = threading.Barrier(8)

    def keep(number: int) -> None:
        start.wait(timeout=60)
        StatusReports(documents, clock).keep("acme", {"number": number})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, range(8)))
    report = StatusReports(documents, clock).last("acme")
    assert report is not None
    assert report["number"] in range(8)
