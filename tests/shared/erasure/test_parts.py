"""Which part of each kind of job is a person's: the job without it, and none where nothing is left."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.consent_events import SystemEvent
from shared.erasure.parts import without
from shared.jobs.jobs import (
    KINDS,
    AddInteraction,
    AnyJob,
    CompareConsent,
    DeleteProfile,
    FlushInbox,
    KeepMasterList,
    PullOptOut,
    ReadEvents,
    SendMetric,
    SendRecords,
    SpreadEvents,
    SyncProfile,
)
from shared.tenants.erasures import Identifier

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
LATER, EARLIER = AT + timedelta(seconds=1), AT - timedelta(seconds=1)
ERASED = {
    (Identifier.OMNEO_ID, "omneo-jane"),
    (Identifier.KLAVIYO_ID, "klaviyo-jane"),
    (Identifier.EMAIL, "canary-jane@example.org"),
}


def is_erased(name: Identifier, value: str, since: datetime) -> bool:
    """Return whether Jane is meant, who was erased at `AT`."""
    return (name, value) in ERASED and since <= AT


def an_event(profile: str, at: datetime = EARLIER) -> SystemEvent:
    return SystemEvent(id="e", topic="unsubscribed_from_email_marketing", profile=profile, at=at)


def a_metric(at: datetime = EARLIER, omneo: str = "", **profile: Any) -> SendMetric:
    return SendMetric(
        tenant="acme", accepted_at=at, event={"profile": {"data": profile}}, omneo_profile_id=omneo
    )


def a_row(profile: str) -> dict[str, Any]:
    return {"payload": {"data": {"relationships": {"profile": {"data": {"id": profile}}}}}}


def a_job(kind: Any, at: datetime = EARLIER, **fields: Any) -> Any:
    return kind(tenant="acme", accepted_at=at, **fields)


WHOLLY_HERS = [
    a_metric(id="klaviyo-jane"),
    a_metric(attributes={"email": "canary-jane@example.org"}),
    a_metric(attributes={"external_id": "omneo-jane"}),
    a_metric(omneo="omneo-jane"),
    a_job(SendRecords, data_source="x", records=({"a": [{"b": "omneo-jane"}]},)),
    a_job(SpreadEvents, account="a", events=(an_event("klaviyo-jane"),)),
    a_job(ReadEvents, account="a", rows=(a_row("klaviyo-jane"),)),
    a_job(KeepMasterList, profile="klaviyo-jane"),
    a_job(AddInteraction, omneo_profile_id="omneo-jane", event=an_event("klaviyo-jane"), signal=1),
    a_job(SyncProfile, profile_id="omneo-jane", until=AT),
    a_job(CompareConsent, profile_ids=("omneo-jane",)),
]
NOT_HERS = [
    a_metric(id="klaviyo-john", attributes={"email": "canary-john@example.org"}),
    a_metric(at=LATER, id="klaviyo-jane"),
    a_job(SendRecords, data_source="x", records=({"a": "omneo-john"},)),
    a_job(SendRecords, at=LATER, data_source="x", records=({"a": "omneo-jane"},)),
    a_job(SpreadEvents, account="a", events=(an_event("klaviyo-jane", LATER),)),
    a_job(SyncProfile, profile_id="omneo-jane", until=LATER),
    a_job(KeepMasterList, at=LATER, profile="klaviyo-jane"),
    a_job(CompareConsent, at=LATER, profile_ids=("omneo-jane",)),
    # These take away, or find nothing.
    a_job(DeleteProfile, profile_id="omneo-jane", klaviyo_id="klaviyo-jane"),
    a_job(PullOptOut, profile_id="omneo-jane", channel="email"),
    a_job(FlushInbox, profile="klaviyo-jane"),
]


@pytest.mark.parametrize("job", WHOLLY_HERS, ids=lambda job: job.kind)
def test_a_job_about_her_alone_is_nothing(job: AnyJob) -> None:
    assert without(job, is_erased) is None


@pytest.mark.parametrize("job", NOT_HERS, ids=lambda job: job.kind)
def test_a_job_of_somebody_else_or_from_later_stays_as_it_is(job: AnyJob) -> None:
    assert without(job, is_erased) is job


def test_a_job_about_many_loses_her_part_alone() -> None:
    records = a_job(SendRecords, data_source="x", records=({"a": "omneo-jane"}, {"a": "omneo-john"}))
    events = (an_event("klaviyo-jane"), an_event("klaviyo-john"), an_event("klaviyo-jane", LATER))
    spread = a_job(SpreadEvents, account="a", events=events)
    read = a_job(ReadEvents, account="a", rows=(a_row("klaviyo-jane"), a_row("klaviyo-john"), {}))
    compare = a_job(CompareConsent, profile_ids=("omneo-jane", "omneo-john"))
    assert without(records, is_erased) == records.model_copy(update={"records": ({"a": "omneo-john"},)})
    assert without(spread, is_erased) == spread.model_copy(update={"events": events[1:]})
    assert without(read, is_erased) == read.model_copy(update={"rows": (a_row("klaviyo-john"), {})})
    assert without(compare, is_erased) == compare.model_copy(update={"profile_ids": ("omneo-john",)})


def test_every_kind_of_job_that_names_a_person_is_thought_of() -> None:
    """A new kind that names one has to be put into the lists above, or here."""
    named = {"profile", "profile_id", "profile_ids", "omneo_profile_id", "event", "events", "rows", "records"}
    about = {kind for kind, model in KINDS.items() if named & model.model_fields.keys()}
    assert about == {job.kind for job in (*WHOLLY_HERS, *NOT_HERS)}
