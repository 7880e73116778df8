"""Jobs and how they travel: what an older or newer revision wrote, and what nobody wrote."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.direction import Direction
from shared.errors import ExtensionError
from shared.jobs.jobs import (
    AnyJob,
    SendMetric,
    UnknownJobKindError,
    UnreadableJobError,
    age_one_attempt,
    read_job,
    write_job,
)

AT = datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)
EVENT = {"unique_id": "u1", "profile": {"data": {"attributes": {"email": "canary-jane@example.org"}}}}

texts = st.text(st.characters(exclude_categories=["Cs"]))
finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | finite | texts
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=15)
objects = st.dictionaries(texts, values, max_size=5)
zones = st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))
moments = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=zones)  # noqa: DTZ001 - the zones are drawn
jobs = st.builds(
    SendMetric,
    tenant=texts,
    id=texts,
    accepted_at=moments,
    attempts=st.integers(0, 10**6),
    last_failure=texts,
    traceparent=texts,
    event=objects,
    with_token=st.booleans(),
    omneo_profile_id=texts,
)


def body(**changes: Any) -> bytes:
    fields = {
        "kind": "send-metric",
        "tenant": "acme",
        "accepted_at": AT.isoformat(),
        "event": EVENT,
    }
    return json.dumps({name: value for name, value in {**fields, **changes}.items() if value != ...}).encode()


def refusal(text: bytes) -> str:
    with pytest.raises(UnreadableJobError) as refused:
        read_job(text)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None or refused.value.__suppress_context__
    return str(refused.value)


class TestTravelling:
    @given(jobs)
    def test_what_is_written_is_read(self, job: AnyJob) -> None:
        assert read_job(write_job(job)) == job

    def test_the_form_that_waiting_tasks_already_have_is_kept(self) -> None:
        job = SendMetric(
            tenant="acme",
            id="j1",
            accepted_at=AT,
            attempts=2,
            last_failure="429",
            event=EVENT,
            with_token=True,
        )
        assert json.loads(write_job(job)) == {
            "kind": "send-metric",
            "tenant": "acme",
            "id": "j1",
            "accepted_at": "2026-11-21T10:00:00.123456Z",
            "attempts": 2,
            "last_failure": "429",
            "traceparent": "",
            "replay": "",
            "dead_id": "",
            "replayed_at": None,
            "turn": "",
            "event": EVENT,
            "with_token": True,
            "omneo_profile_id": "",
            "alone": False,
        }

    def test_a_job_of_an_older_revision_gets_what_it_lacks(self) -> None:
        job = read_job(body())
        assert isinstance(job, SendMetric)
        assert (job.attempts, job.last_failure, job.traceparent) == (0, "", "")
        assert (job.with_token, job.omneo_profile_id, job.direction) == (False, "", Direction.OUTBOUND)
        assert job.event == EVENT

    def test_what_a_newer_revision_added_is_passed_over(self) -> None:
        assert read_job(body(id="j", priority={"high": True})) == read_job(body(id="j"))

    def test_every_job_has_an_id_of_its_own(self) -> None:
        assert len({SendMetric(tenant="acme", accepted_at=AT, event={}).id for _ in range(50)}) == 50

    def test_numbers_of_an_event_keep_their_kind(self) -> None:
        event = {"whole": 1, "half": 1.0, "yes": True, "big": 2**80, "text": "1"}
        job = read_job(write_job(SendMetric(tenant="acme", accepted_at=AT, event=event)))
        assert isinstance(job, SendMetric)
        assert repr(job.event) == repr(event)


class TestWhatCannotBeDone:
    @pytest.mark.parametrize(
        "text",
        [
            b"", b"canary", b"null", b"1", b'"canary"', b"[]", b"{", b'{"a":1}{', b"\xff\xfe", b"\xef\xbb\xbf{}",
            b'{"kind":"send-metric","x":"\\ud800"}', b"[" * 100_000, b'{"a":' * 100_000,
        ],
        ids=str,
    )  # fmt: skip
    def test_what_is_no_json_object_is_unreadable(self, text: bytes) -> None:
        assert refusal(text) == "the task's body is not a JSON object"

    @pytest.mark.parametrize("kind", [..., None, 1, True, ["send-metric"], {"canary": 1}])
    def test_a_job_without_a_kind_is_unreadable(self, kind: object) -> None:
        assert refusal(body(kind=kind)) == "the task's body names no kind of job"

    @pytest.mark.parametrize(
        ("changes", "fields"),
        [
            ({"tenant": ...}, "tenant"),
            ({"tenant": 7}, "tenant"),
            ({"accepted_at": "canary"}, "accepted_at"),
            ({"accepted_at": "2026-11-21T10:00:00"}, "accepted_at"),
            ({"event": ["canary"]}, "event"),
            ({"event": ..., "with_token": "canary"}, "event, with_token"),
            ({"attempts": "canary"}, "attempts"),
            ({"attempts": 1.5}, "attempts"),
            ({"id": None}, "id"),
        ],
    )
    def test_a_garbled_job_is_explained_by_field(self, changes: dict[str, Any], fields: str) -> None:
        assert refusal(body(**changes)) == f"fields of the job are missing or wrong: {fields}"

    @pytest.mark.parametrize("kind", ["canary-kind", "", "SEND-METRIC", "send-metric "])
    def test_a_kind_of_another_revision_says_whose_and_how_old_it_is(self, kind: str) -> None:
        with pytest.raises(UnknownJobKindError) as unknown:
            read_job(body(kind=kind, event=...))
        assert (unknown.value.tenant, unknown.value.accepted_at) == ("acme", AT)
        assert "canary" not in str(unknown.value)

    @pytest.mark.parametrize(
        "accepted_at", [..., None, "canary", "2026-11-21T10:00:00", [], {}, 1e300, -(10**30), True]
    )
    def test_a_kind_of_another_revision_may_be_of_unknown_age(self, accepted_at: object) -> None:
        with pytest.raises(UnknownJobKindError) as unknown:
            read_job(body(kind="new", accepted_at=accepted_at, tenant=...))
        assert (unknown.value.tenant, unknown.value.accepted_at) == ("", None)

    @given(st.binary())
    @example(b'{"kind":"new","accepted_at":1e999}')
    @example(b'{"kind":"new","n":' + b"9" * 5000 + b"}")
    def test_any_bytes_are_a_job_or_one_of_two_errors(self, text: bytes) -> None:
        try:
            read_job(text)
        except (UnreadableJobError, UnknownJobKindError) as error:
            assert "canary" not in str(error)  # noqa: PT017 - a job is as good an outcome

    canaries = st.recursive(
        st.sampled_from(["canary", "send-metric", 1, -1.5, None, True]),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("canary"), inner),
        max_leaves=4,
    )
    names = st.sampled_from([*SendMetric.model_fields, "canary"])

    @given(st.dictionaries(names, canaries), st.sampled_from(["send-metric", "new"]))
    def test_no_error_repeats_a_value(self, fields: dict[str, Any], kind: str) -> None:
        try:
            read_job(body(**fields, **({} if "kind" in fields else {"kind": kind})))
        except ExtensionError as error:
            assert "canary" not in str(error)  # noqa: PT017 - the same


class TestAgeing:
    @given(jobs)
    def test_a_job_is_one_attempt_older_and_otherwise_the_same(self, job: AnyJob) -> None:
        older = read_job(age_one_attempt(write_job(job)))
        assert older == job.model_copy(update={"attempts": job.attempts + 1})

    def test_a_job_of_any_kind_ages(self) -> None:
        aged = json.loads(age_one_attempt(body(kind="new", extra={"ü": [1.5, None]})))
        assert aged == {**json.loads(body(kind="new", extra={"ü": [1.5, None]})), "attempts": 1}

    @pytest.mark.parametrize(
        ("attempts", "then"),
        [(..., 1), (None, 1), (0, 1), (41, 42), ("canary", 1), ([], 1), ({}, 1), (1.5, 1)],
    )
    def test_attempts_that_make_no_sense_begin_again(self, attempts: object, then: int) -> None:
        assert json.loads(age_one_attempt(body(kind="new", attempts=attempts)))["attempts"] == then
