"""Reading back what Klaviyo has recorded: metrics and events, page by page, and answers that make no sense."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
import responses
from pydantic import SecretStr

from deploy.local.sandbox import Sandbox
from shared.errors import RefusedError, WaitError
from shared.http.client import HttpClient, Limits
from shared.http.connections import Connections
from shared.klaviyo.client import FixedToken, KlaviyoClient, read_problem
from tests.support.world import ACCOUNT, EMAIL, Clock

URL = "http://klaviyo.invalid"
TOKEN = "canary-access"
SINCE = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def client(url: str, token: str = TOKEN) -> KlaviyoClient:
    http = HttpClient("Klaviyo", url, read_problem, Connections(), limits=Limits(read=2.0, total=4.0))
    return KlaviyoClient(http, FixedToken(SecretStr(token)), "2026-10-15")


@pytest.fixture
def klaviyo(sandbox: Sandbox) -> KlaviyoClient:
    return client(sandbox.klaviyo.url, sandbox.klaviyo.install(ACCOUNT).access_token)


@pytest.fixture
def jane(sandbox: Sandbox) -> str:
    id: str = sandbox.klaviyo.profile(ACCOUNT, email=EMAIL).id
    return id


def metric_id(klaviyo: KlaviyoClient, name: str) -> str:
    [id] = [metric.id for metric in klaviyo.metrics() if metric.name == name]
    return id


def test_metrics_are_told_with_who_records_them(klaviyo: KlaviyoClient) -> None:
    known = {(metric.name, metric.integration) for metric in klaviyo.metrics()}
    assert ("Unsubscribed from Email Marketing", "Klaviyo") in known
    assert ("Failed Payment", "Stripe") in known


def test_every_page_of_metrics_is_read(sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
    topics = [f"event:klaviyo.made_up_{number}" for number in range(450)]
    sandbox.klaviyo.account(ACCOUNT, topics=topics)
    assert len({metric.id for metric in klaviyo.metrics()}) == 450
    assert len(sandbox.klaviyo.calls.all()) == 3


def test_events_are_asked_for_by_metric_and_time_oldest_first(
    sandbox: Sandbox, klaviyo: KlaviyoClient, jane: str, clock: Clock
) -> None:
    for hours in (3, 1, 2, 30):
        sandbox.klaviyo.drop_email(ACCOUNT, jane, at=clock.timestamp() - hours * 3600 + 1800)
    sandbox.klaviyo.mark_as_spam(ACCOUNT, jane)
    id = metric_id(klaviyo, "Dropped Email")
    page = klaviyo.events(id, since=SINCE - timedelta(hours=2))
    [call] = [call for call in sandbox.klaviyo.calls.all() if call.path == "/api/events"]
    asked = {name: values[0] for name, values in parse_qs(call.query).items()}
    assert asked == {
        "filter": f'equals(metric_id,"{id}"),greater-or-equal(datetime,2026-11-21T07:00:00Z)',
        "sort": "datetime",
        "page[size]": "1000",
    }
    times = [row["attributes"]["timestamp"] for row in page.events]
    assert times == [int(clock.timestamp()) - hours * 3600 + 1800 for hours in (3, 2, 1)]
    assert page.cursor == ""


def test_a_time_is_asked_for_in_utc(sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
    klaviyo.events("", since=SINCE.astimezone(timezone(timedelta(hours=11))))
    [call] = sandbox.klaviyo.calls.all()
    assert "filter=greater-or-equal(datetime,2026-11-21T09:00:00Z)" in unquote(call.query)


def test_pages_follow_one_another_and_leave_nothing_out(
    sandbox: Sandbox, klaviyo: KlaviyoClient, jane: str, clock: Clock
) -> None:
    for number in range(2100):
        sandbox.klaviyo.drop_email(ACCOUNT, jane, at=clock.timestamp() - number)
    id, found, sizes, cursor = metric_id(klaviyo, "Dropped Email"), set(), [], ""
    while True:
        page = klaviyo.events(id, since=SINCE - timedelta(days=1), cursor=cursor)
        found |= {row["id"] for row in page.events}
        sizes.append(len(page.events))
        if not (cursor := page.cursor):
            break
    assert sizes == [1000, 1000, 100]
    assert len(found) == 2100


def test_a_metric_of_an_apps_own_is_refused(sandbox: Sandbox, klaviyo: KlaviyoClient) -> None:
    klaviyo.create_event(
        {
            "metric": {"data": {"type": "metric", "attributes": {"name": "Ours"}}},
            "profile": {"data": {"type": "profile", "attributes": {"email": EMAIL}}},
            "properties": {},
        }
    )
    with pytest.raises(RefusedError) as refused:
        klaviyo.events(metric_id(klaviyo, "Ours"), since=SINCE)
    assert refused.value.status == 400


def page_of(rows: object, following: object = None) -> dict[str, Any]:
    return {"data": rows, "links": {"self": f"{URL}/api/events", "next": following}}


NONSENSE: list[Any] = [
    None,
    [],
    "text",
    {},
    {"data": None},
    {"data": "text"},
    {"data": [1]},
    {"data": ["text"]},
    {"data": [None]},
    page_of([], 5),
    page_of([], f"{URL}/api/events?page%5Bsize%5D=1000"),
    page_of([], f"{URL}/api/events?page%5Bcursor%5D=here"),
]


@pytest.mark.parametrize("body", NONSENSE, ids=str)
def test_a_page_of_events_that_makes_no_sense_is_read_again(body: object) -> None:
    with responses.RequestsMock() as mock:
        mock.add(responses.GET, f"{URL}/api/events", json=body)
        with pytest.raises(WaitError):
            client(URL).events("METRIC", since=SINCE, cursor="here")


@pytest.mark.parametrize(
    "row", [{}, {"id": "M"}, {"id": "M", "attributes": None}, {"id": "M", "attributes": {}}, "text"], ids=str
)
def test_a_metric_that_makes_no_sense_is_read_again(row: object) -> None:
    with responses.RequestsMock() as mock:
        mock.add(responses.GET, f"{URL}/api/metrics", json={"data": [row]})
        with pytest.raises(WaitError):
            client(URL).metrics()


def test_a_metric_that_nobody_integrates_is_nobodys() -> None:
    row = {"id": "M", "attributes": {"name": "Placed Order", "integration": None}}
    with responses.RequestsMock() as mock:
        mock.add(responses.GET, f"{URL}/api/metrics", json={"data": [row], "links": None})
        [metric] = client(URL).metrics()
    assert metric.integration == ""


def test_pages_of_metrics_that_go_round_in_a_circle_end() -> None:
    links = {"next": f"{URL}/api/metrics?page%5Bcursor%5D=again"}
    with responses.RequestsMock() as mock:
        mock.add(responses.GET, f"{URL}/api/metrics", json={"data": [], "links": links})
        with pytest.raises(WaitError):
            client(URL).metrics()
