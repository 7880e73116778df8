"""What is believed of Klaviyo's answers: its own JSON alone, whatever an edge's status is; and how filters and paths are written."""

import contextlib
import itertools
import re
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
import responses
from pydantic import SecretStr

from shared.consent_events import Consent
from shared.errors import NotFoundError, RefusedError, ServiceError, WaitError
from shared.http.client import HttpClient
from shared.http.connections import Connections
from shared.klaviyo.bulk import Subscriber
from shared.klaviyo.client import FixedToken, KlaviyoClient, read_problem
from shared.klaviyo.consent_jobs import Person
from tests.support.world import EMAIL

URL = "http://klaviyo.invalid"
ANY = re.compile(f"{URL}/.*")
NOW = datetime(2026, 11, 29, tzinfo=UTC)
SECRET = SecretStr("canary-webhook-secret")
Call = Callable[[KlaviyoClient], object]

READS: list[Call] = [
    lambda klaviyo: klaviyo.account(),
    lambda klaviyo: klaviyo.webhook_topics(),
    lambda klaviyo: klaviyo.webhooks(),
    lambda klaviyo: klaviyo.data_sources(),
    lambda klaviyo: klaviyo.metrics(),
    lambda klaviyo: klaviyo.events("m", since=NOW),
    lambda klaviyo: klaviyo.profile("01K"),
    lambda klaviyo: klaviyo.find_profile("email", EMAIL),
    lambda klaviyo: klaviyo.profiles_by("email", [EMAIL]),
    lambda klaviyo: klaviyo.is_on_list("L", EMAIL),
    lambda klaviyo: klaviyo.import_job("j"),
    lambda klaviyo: klaviyo.import_errors("j"),
    lambda klaviyo: klaviyo.import_profile({"type": "profile", "attributes": {"email": EMAIL}}),
    lambda klaviyo: klaviyo.import_profiles([]),
    lambda klaviyo: klaviyo.create_data_source("t", "d"),
    lambda klaviyo: klaviyo.create_webhook("n", "https://example.org", SECRET, ["t"]),
]
WRITES: list[Call] = [
    lambda klaviyo: klaviyo.create_event({}),
    lambda klaviyo: klaviyo.create_data_source_record("s", {}),
    lambda klaviyo: klaviyo.bulk_create_data_source_records("s", [{}]),
    lambda klaviyo: klaviyo.subscribe(Person("01K", EMAIL), [Consent.EMAIL]),
    lambda klaviyo: klaviyo.unsubscribe(Person("01K", EMAIL), [Consent.EMAIL]),
    lambda klaviyo: klaviyo.suppress(EMAIL),
    lambda klaviyo: klaviyo.request_deletion("01K"),
    lambda klaviyo: klaviyo.subscribe_many([Subscriber(EMAIL, "", {Consent.EMAIL: NOW})]),
    lambda klaviyo: klaviyo.unsubscribe_many([Subscriber(EMAIL, "", {Consent.EMAIL: NOW})]),
    lambda klaviyo: klaviyo.update_webhook("w", "n", "https://example.org", SECRET, ["t"]),
    lambda klaviyo: klaviyo.delete_webhook("w"),
]


def client() -> KlaviyoClient:
    http = HttpClient("Klaviyo", URL, read_problem, Connections())
    return KlaviyoClient(http, FixedToken(SecretStr("canary-token")), "2026-10-15")


def answered(call: Call, *, status: int, body: str = "", **headers: str) -> list[str]:
    """Make the call, which is always answered so, and return the addresses that it asked."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        for method in ("GET", "POST", "PATCH", "DELETE"):
            mock.add(responses.Response(method, ANY, body=body, status=status, headers=headers))
        call(client())
        return [str(made.request.url) for made in mock.calls]


@pytest.mark.parametrize("call", [*READS, *WRITES])
def test_no_call_believes_the_status_of_an_edge(call: Call) -> None:
    statuses = (200, 400, 401, 402, 403, 404, 405, 409, 410, 413, 414, 415, 422, 451)
    for status, body in itertools.product(statuses, ("", "<html>canary</html>")):
        with pytest.raises(ServiceError) as failed:
            answered(call, status=status, body=body)
        assert type(failed.value) is WaitError, (status, body)


@pytest.mark.parametrize("call", READS)
def test_a_success_in_another_shape_is_no_nobody(call: Call) -> None:
    for data in ("null", "{}", '""', '"canary"', "7"):
        for body in (data, f'{{"data": {data}}}'):
            with pytest.raises(WaitError, match="cannot be read"):
                answered(call, status=200, body=body)


@pytest.mark.parametrize("call", [*READS, *WRITES])
def test_a_success_without_what_klaviyo_says_is_no_success(call: Call) -> None:
    for status, body in itertools.product(
        (200, 201, 202, 204), ("{}", "[]", '{"status": "ok"}', '{"ok": true}', "7")
    ):
        with pytest.raises(WaitError):
            answered(call, status=status, body=body)


def test_a_status_that_klaviyo_never_gives_to_a_call_takes_none_for_done() -> None:
    calls: list[tuple[Call, int]] = [
        (lambda klaviyo: klaviyo.create_event({}), 202),
        (lambda klaviyo: klaviyo.bulk_create_events([]), 202),
        (lambda klaviyo: klaviyo.create_data_source_record("S", {}), 204),
        (lambda klaviyo: klaviyo.bulk_create_data_source_records("S", [{}]), 204),
        (lambda klaviyo: klaviyo.delete_webhook("W"), 204),
        (lambda klaviyo: klaviyo.check_list("L"), 0),
    ]
    for call, own in calls:
        for status in (202, 204, 205):
            if status == own:
                assert answered(call, status=status)
                continue
            with pytest.raises(WaitError, match=r"without a body|cannot be read"):
                answered(call, status=status)


@pytest.mark.parametrize("status", [400, 403, 404, 409])
def test_klaviyos_own_refusal_is_a_verdict(status: int) -> None:
    with pytest.raises(RefusedError):
        answered(lambda klaviyo: klaviyo.create_event({}), status=status, body='{"errors": [{"code": "x"}]}')


def test_a_profile_that_is_gone_is_erased() -> None:
    gone = '{"errors": [{"code": "not_found", "detail": "No profile with id `X` found. It may have been deleted."}]}'
    assert len(answered(lambda klaviyo: klaviyo.request_deletion("X"), status=404, body=gone)) == 1


def test_klaviyo_says_when_it_retires_the_revision_we_ask_for() -> None:
    with responses.RequestsMock() as mock:
        date = {"X-Klaviyo-Api-Retirement-Date": "2027-10-15"}
        mock.add(responses.POST, ANY, status=202, headers=date)
        klaviyo = client()
        assert klaviyo.retirement == ""
        klaviyo.create_event({})
    assert klaviyo.retirement == "2027-10-15"


def test_filters_are_written_as_klaviyos_documents_write_them() -> None:
    def asked(call: Call) -> str:
        with responses.RequestsMock() as mock:
            mock.add(responses.GET, ANY, status=503)
            with contextlib.suppress(WaitError):
                call(client())
            return parse_qs(urlsplit(str(mock.calls[0].request.url)).query)["filter"][0]

    assert asked(lambda klaviyo: klaviyo.profiles_by("id", ["b", "a"])) == 'any(id,["a","b"])'
    assert asked(lambda klaviyo: klaviyo.is_on_list("L", EMAIL)) == f'equals(email,"{EMAIL}")'
    assert (
        asked(lambda klaviyo: klaviyo.find_profile("external_id", 'a"b\\c'))
        == r'equals(external_id,"a\"b\\c")'
    )
    assert asked(lambda klaviyo: klaviyo.events('a"b', since=NOW)) == (
        'equals(metric_id,"a\\"b"),greater-or-equal(datetime,2026-11-29T00:00:00Z)'
    )


@pytest.mark.parametrize("id", ["", ".", ".."])
def test_an_id_that_would_be_another_path_is_nobodys_and_nothing_is_called(id: str) -> None:
    with responses.RequestsMock():
        assert client().profile(id) is None
        calls: list[Call] = [
            lambda klaviyo: klaviyo.is_on_list(id, EMAIL),
            lambda klaviyo: klaviyo.import_job(id),
            lambda klaviyo: klaviyo.import_errors(id),
            lambda klaviyo: klaviyo.update_webhook(id, "n", "https://example.org", SECRET, ["t"]),
            lambda klaviyo: klaviyo.delete_webhook(id),
        ]
        for call in calls:
            with pytest.raises(NotFoundError):
                call(client())
