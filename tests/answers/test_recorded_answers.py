"""Every recorded answer, held against both sides: the sandbox answers so, and our client makes of it what it should.

A folder beside this file is a set of answers; whoever records another one puts it here, and both sides are held to it as well.
"""

import json
import re
from collections.abc import Iterator
from inspect import getmembers, isfunction
from pathlib import Path
from typing import Any

import pytest
import responses

from deploy.rehearsal.answers import RecordedAnswer, read_answers, write_answers
from deploy.rehearsal.assumptions.table import ASSUMPTIONS
from deploy.rehearsal.comparing import outcome, unlike
from deploy.rehearsal.recording import Recorder, recorded
from deploy.rehearsal.rehearsal import Order, rehearse
from shared.errors import (
    GrantRefusedError,
    NotFoundError,
    RefusedError,
    ServiceError,
    TokenRejectedError,
    WaitError,
)
from shared.klaviyo.oauth import KlaviyoOAuth
from tests.answers.calls import CALLS, CLIENTS, Call
from tests.answers.shop import Shop, Things, a_shop, clients_of
from tests.answers.situations import calls_of, happen, makes, ways_to
from tests.deploy.rehearsal.stages import CUSTOMER, TWIN, a_twin, record_what_people_did
from tests.support.world import World

HERE = Path(__file__).parent
KNOWN = read_answers(HERE / "known")
ANSWERS = read_answers(HERE)
URL = "http://service.invalid"
ANYWHERE = re.compile(f"{URL}/.*")
# They call nobody.
SILENT = {"authorize_url", "need_token"}
NOT_NOW = {408, 425, 429}


def name_of(value: object) -> str:
    return value.file if isinstance(value, RecordedAnswer) else str(value)


# The sandbox


def given(answer: RecordedAnswer, shop: Shop) -> list[RecordedAnswer]:
    """Return what was heard of the answer's operation that has its outcome."""
    heard = [row for row in map(recorded, shop.heard) if row is not None and row.service == answer.service]
    operations = {call.operation for call in calls_of(answer)} | {answer.operation}
    return [row for row in heard if row.operation in operations and outcome(row) == outcome(answer)]


def heard_from_the_sandbox(answer: RecordedAnswer) -> list[list[RecordedAnswer]]:
    """Return what the sandbox answers, in each of the ways in which the answer may come about."""
    found = []
    for happens in ways_to(answer):
        with a_shop() as shop:
            happen(happens, shop)
            found.append(given(answer, shop))
    return found


@pytest.mark.parametrize("answer", ANSWERS, ids=name_of)
def test_the_sandbox_gives_an_answer_of_this_form(answer: RecordedAnswer) -> None:
    found = heard_from_the_sandbox(answer)
    assert found, (
        f"{answer.file}: tests/answers/situations.py knows no way to {outcome(answer)} of {answer.operation}"
    )
    for heard in found:
        assert heard, f"{answer.file}: the sandbox does not answer {outcome(answer)}"
        assert list(map(str, unlike([answer], heard[-1:]))) == []


@pytest.mark.parametrize("answer", [row for row in KNOWN if row.method != "*"], ids=name_of)
def test_our_calls_name_the_parameters_that_stand_in_the_file(answer: RecordedAnswer) -> None:
    """One of our calls does: find_profile and profiles_by, say, ask the same operation with others."""
    asked = set()
    for happens in ways_to(answer):
        with a_shop() as shop:
            happen(happens, shop)
            asked |= {row.parameters for row in given(answer, shop)}
    assert answer.parameters in asked


@pytest.mark.parametrize("answer", [row for row in ANSWERS if row.sent is not None], ids=name_of)
def test_our_calls_are_no_stranger_than_those_that_were_recorded(answer: RecordedAnswer) -> None:
    """What we send in the sandbox's world has the envelope of what was sent when this was recorded."""
    for happens in ways_to(answer):
        with a_shop() as shop:
            happen(happens, shop)
            sent = [row.sent for row in given(answer, shop)]
        assert _envelope(sent[-1]) == _envelope(answer.sent)


def _envelope(sent: Any) -> Any:
    """Return what a body is of: the type of its resource, or the fields of a plain object."""
    resource = sent.get("data") if isinstance(sent, dict) else None
    return resource.get("type") if isinstance(resource, dict) else isinstance(sent, dict)


# Our client


def pages_of(answer: RecordedAnswer) -> Iterator[dict[str, Any]]:
    """Yield the body, and the same as the last page, for a client that asks for the next one."""
    yield answer.body
    if isinstance(answer.body, dict) and isinstance(answer.body.get("links"), dict):
        yield {**answer.body, "links": {**answer.body["links"], "next": None}}


def told(call: Call, answer: RecordedAnswer) -> object:
    """Return what the client makes of the answer."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        for body in pages_of(answer):
            wire.add(
                call.operation.split()[0], ANYWHERE,
                body=answer.text or ("" if body is None else json.dumps(body)), status=answer.status, headers=dict(answer.headers),
            )  # fmt: skip
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - {call.operation.split()[0]}:
            wire.add(method, ANYWHERE, status=503)
        return call.make(clients_of(URL)[call.client], Things.of(answer))


def refusal(call: Call, answer: RecordedAnswer) -> type[ServiceError] | None:
    """Return what the client raises, None where it returns."""
    status = answer.status
    if answer.text and not (status < 300 and call.name == "verify_token"):
        return WaitError
    if status < 300 or status in call.missing:
        return None
    if status in call.waits or status in NOT_NOW or status >= 500:
        return WaitError
    if call.client is KlaviyoOAuth:
        return _refused_grant(call, answer)
    return {401: TokenRejectedError, 404: NotFoundError}.get(status, RefusedError)


def _refused_grant(call: Call, answer: RecordedAnswer) -> type[ServiceError] | None:
    is_dead = bool({"invalid_grant", "invalid_grant_type"} & {*answer.codes})
    if call.name == "revoke":
        return None if is_dead else WaitError if answer.status == 401 else RefusedError
    return GrantRefusedError if is_dead else WaitError


PAIRS = [(answer, call) for answer in ANSWERS for call in calls_of(answer)]


@pytest.mark.parametrize(("answer", "call"), PAIRS, ids=name_of)
def test_our_client_makes_of_it_what_it_should(answer: RecordedAnswer, call: Call) -> None:
    kind = refusal(call, answer)
    if kind is None:
        is_there = answer.status < 300
        assert told(call, answer) == (call.reads(answer.body) if is_there else call.absent)
        return
    with pytest.raises(ServiceError) as refused:
        told(call, answer)
    error = refused.value
    assert type(error) is kind
    assert "canary" not in str(error)
    assert (error.service, error.status) == (call.service, answer.status)
    first = first_error(answer)
    if type(error) in {TokenRejectedError, NotFoundError, RefusedError} and first:
        assert (error.code, error.detail, error.request_id) == (first["code"], first["detail"], first["id"])
        assert error.field == first["source"].get("pointer", first["source"].get("parameter", ""))
        assert error.duplicate_of == first.get("meta", {}).get("duplicate_profile_id", "")
    if isinstance(error, WaitError) and "retry-after" in answer.headers:
        assert error.retry_after == float(answer.headers["retry-after"])


def first_error(answer: RecordedAnswer) -> dict[str, Any] | None:
    """Return the first of Klaviyo's errors, None if the answer is none of the API's refusals."""
    errors = answer.body.get("errors") if isinstance(answer.body, dict) else None
    return errors[0] if isinstance(errors, list) else None


# The folder


def test_every_method_of_our_clients_stands_in_the_table() -> None:
    for client in CLIENTS:
        public = {name for name, _ in getmembers(client, isfunction) if not name.startswith("_")}
        assert {call.name for call in CALLS if call.client is client} == public - SILENT


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_call_is_of_the_operation_that_the_table_names(call: Call) -> None:
    with a_shop() as shop:
        happen(makes(call), shop)
        heard = [row.operation for row in map(recorded, shop.heard) if row is not None]
    assert heard == [call.operation]


def test_every_operation_that_our_clients_call_has_its_success_in_the_folder() -> None:
    known = {(answer.service, answer.operation) for answer in KNOWN if answer.status < 300}
    assert {(call.service, call.operation) for call in CALLS} - known == set()


def test_an_answer_says_how_it_comes_about_and_on_whose_word() -> None:
    for answer in ANSWERS:
        assert answer.case.endswith("."), answer.file
        assert answer.source in {"recorded", "documented", "assumed"}, answer.file


def test_an_answer_that_is_recorded_anew_is_what_it_was(tmp_path: Path) -> None:
    write_answers(KNOWN, tmp_path)
    again = {(row.service, row.name): row for row in read_answers(tmp_path)}
    assert again == {(row.service, row.name): row for row in KNOWN}


def test_a_file_that_is_no_answer_is_named(tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '{"service": "Klaviyo", "request": {}}'):
        (tmp_path / "odd.json").write_text(text)
        with pytest.raises(ValueError, match=r"odd\.json: this is no recorded answer"):
            read_answers(tmp_path)


def test_what_is_recorded_in_the_sandbox_is_held_as_what_is_known(tmp_path: Path) -> None:
    recorder = Recorder()
    with a_shop() as shop:
        for call in CALLS[:6]:
            happen(makes(call), shop)
            shop.sandbox.advance(60)
        for exchange in shop.heard * 2:
            recorder.hear(exchange)
    assert len(recorder.write(tmp_path)) == 6  # of one form, each once
    for answer in read_answers(tmp_path):
        test_the_sandbox_gives_an_answer_of_this_form(answer)
        for call in calls_of(answer):
            test_our_client_makes_of_it_what_it_should(answer, call)


def test_what_a_whole_rehearsal_records_is_held_too(world: World, tmp_path: Path) -> None:
    twin, recorder = a_twin(world), Recorder()
    record_what_people_did(twin)
    order = Order(ASSUMPTIONS, CUSTOMER)
    rehearse(world.read(TWIN), order, world.services, tell=twin.told.append, listeners=[recorder.hear])
    assert len(recorder.write(tmp_path)) > 50
    for answer in read_answers(tmp_path):
        test_the_sandbox_gives_an_answer_of_this_form(answer)
        for call in calls_of(answer):
            test_our_client_makes_of_it_what_it_should(answer, call)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda body: body["data"].pop("id"), "body data.id: nothing became string"),
        (lambda body: body["data"].update(id=7), "body data.id: number became string"),
        (lambda body: body["data"].update(extra=[]), "body data.extra: array became nothing"),
        (lambda body: body["data"]["attributes"].update(location="here"), "body data.attributes.location: string became object"),
        (lambda body: body["data"]["attributes"].update(properties={"any": 1}), None),
        (lambda body: body["data"]["attributes"].update(first_name=None), None),
    ],
    ids=["missing", "type", "more", "deeper", "own", "null"],
)  # fmt: skip
def test_an_answer_of_another_form_is_told_from_the_sandboxs(change: Any, told: str | None) -> None:
    (known,) = [row for row in KNOWN if row.file == "klaviyo/get-profiles-id.200.json"]
    body = json.loads(json.dumps(known.body))
    change(body)
    other = RecordedAnswer(known.service, known.method, known.path, 200, known.headers, body)
    expected = [] if told is None else [f"Klaviyo GET /api/profiles/{{id}}: {told}"]
    assert list(map(str, unlike([other], [known]))) == expected
