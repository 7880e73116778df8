"""The audit: what was done with a credential is kept in its order, told newest first, and written to the log."""

import itertools
import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import pytest

from shared import logs
from shared.audit import KEPT, LONGEST, OPERATOR, Act, Audit, by_key
from shared.errors import StoreUnavailableError
from shared.storage.documents import Documents
from tests.support.through import Through
from tests.support.world import Clock

T = TypeVar("T")


def audit_on(documents: Documents, clock: Clock) -> Audit:
    """Return an audit whose ids are counted downwards, so that their order is not that of the acts."""
    ids = itertools.count(99, -1)
    return Audit(documents, clock, lambda: f"{next(ids)}")


def test_acts_are_told_newest_first(documents: Documents) -> None:
    clock = Clock()
    audit = audit_on(documents, clock)
    for act in (Act.CREATED, Act.LINK_MADE, Act.INSTALLED):
        audit.note("acme", act, by=OPERATOR)
        clock.advance(0.001)
    assert [entry.act for entry in audit.acts("acme")] == [
        "installed",
        "install link made",
        "tenant created",
    ]


def test_an_act_is_told_with_when_who_and_about_what(documents: Documents) -> None:
    clock = Clock()
    audit = audit_on(documents, clock)
    audit.note("acme", Act.SETTINGS_CHANGED, by=by_key("01234567"), about="timezone, default_region")
    (entry,) = audit.acts("acme")
    assert (entry.at, entry.by) == (clock.now, "installation key 01234567")
    assert entry.about == "timezone, default_region"


def test_a_tenant_sees_its_own_acts_alone(documents: Documents) -> None:
    audit = audit_on(documents, Clock())
    audit.note("acme", Act.CREATED, by=OPERATOR)
    assert audit.acts("beta") == []


def test_more_acts_than_the_store_gives_at_once_are_all_told(documents: Documents) -> None:
    clock = Clock()
    audit = audit_on(documents, clock)
    for _ in range(103):
        audit.note("acme", Act.LINK_MADE, by=OPERATOR)
        clock.advance(1)
    assert len(audit.acts("acme")) == 103
    assert [entry.at for entry in audit.acts("acme", limit=1)] == [clock.now - timedelta(seconds=1)]


def test_acts_since_a_time_leave_out_those_before(documents: Documents) -> None:
    clock = Clock()
    audit = audit_on(documents, clock)
    audit.note("acme", Act.CREATED, by=OPERATOR)
    clock.advance(60)
    since = clock.now
    audit.note("acme", Act.INSTALLED, by=OPERATOR)
    assert [entry.act for entry in audit.acts("acme", since=since)] == ["installed"]


def test_an_act_is_told_until_it_expires(documents: Documents) -> None:
    clock = Clock()
    audit = audit_on(documents, clock)
    audit.note("acme", Act.CREATED, by=OPERATOR)
    clock.now += KEPT - timedelta(seconds=1)
    assert len(audit.acts("acme")) == 1
    clock.advance(1)
    assert audit.acts("acme") == []


def test_a_long_list_of_names_is_cut(documents: Documents) -> None:
    audit = audit_on(documents, Clock())
    audit.note("acme", Act.SETTINGS_CHANGED, by=OPERATOR, about="x" * 5000)
    assert len(audit.acts("acme")[0].about) == LONGEST


class _Down(Through):
    def passing(self, operation: str, call: Callable[[], T]) -> T:
        raise StoreUnavailableError("down")


def test_an_act_is_one_log_line_of_its_own_kind_and_fails_for_no_store(
    documents: Documents, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("test-project")
    Audit(_Down(documents), Clock(), lambda: "1").note("acme", Act.REVEALED, by=OPERATOR, about="a profile")
    told, failed = map(json.loads, capsys.readouterr().out.splitlines())
    assert told == {
        "severity": "INFO",
        "message": "act with a credential",
        "kind": "audit",
        "tenant": "acme",
        "act": "personal values shown",
        "by": "operator",
        "about": "a profile",
    }
    assert (failed["severity"], failed["message"]) == (
        logging.getLevelName(logging.ERROR),
        "an act could not be recorded",
    )
