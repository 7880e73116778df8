"""The console's pages without a browser: who may call, what a wrong order is answered, and what the sandbox is told."""

import json
from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from deploy.local.console.pages.desk import chart
from deploy.local.exchange import Exchange
from deploy.local.sandbox import Sandbox
from tests.deploy.local.console.conftest import HOST, OWN


def broken(sandbox: Sandbox) -> list[tuple[str, int, str | None, bool]]:
    """Return the faults that Klaviyo and Omneo have been told of."""
    both = [*sandbox.klaviyo.faults.ordered(), *sandbox.omneo.faults.ordered()]
    return [(fault.kind, fault.left, fault.match, fault.takes_effect) for fault in both]


@pytest.mark.parametrize("host", [HOST, "localhost:8300", "[::1]:8300", "LOCALHOST:8300"])
def test_the_console_answers_under_the_names_of_this_machine(client: FlaskClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8300", "127.0.0.1", "127.0.0.1:9", "127.0.0.1.evil.example:8300", ""],
)
def test_under_any_other_name_it_says_where_it_answers(client: FlaskClient, host: str) -> None:
    answer = client.get("/", headers={"Host": host})
    assert answer.status_code == 403
    assert "answers on this machine alone" in answer.text


@pytest.mark.parametrize("caller", ["10.0.0.7", "127.0.0.1, 10.0.0.7", "10.0.0.7, 127.0.0.1", "unknown"])
def test_a_caller_on_another_machine_is_refused(client: FlaskClient, caller: str) -> None:
    assert client.get("/", headers={"Host": HOST, "X-Forwarded-For": caller}).status_code == 403


@pytest.mark.parametrize("path", ["/", "/console/live/stream", "/console/static/console.css"])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", f"https://{HOST}", "http://127.0.0.1:9", ""]
)
def test_another_pages_origin_is_refused_whatever_it_asks(
    client: FlaskClient, origin: str, path: str
) -> None:
    assert client.get(path, headers={"Host": HOST, "Origin": origin}).status_code == 403


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
                                     {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"}])  # fmt: skip
def test_an_order_of_another_page_breaks_nothing(
    client: FlaskClient, sandbox: Sandbox, headers: dict[str, str]
) -> None:
    form = {"side": "Klaviyo", "fault": "reset", "until": "mended"}
    answer = client.post("/console/faults/break", data=form, headers={"Host": HOST, **headers})
    assert answer.status_code == 403
    assert broken(sandbox) == []


def test_every_answer_allows_itself_alone(client: FlaskClient) -> None:
    for path in ("/", "/console/faults/", "/console/nowhere"):
        headers = client.get(path, headers=OWN).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


def test_a_page_names_nothing_that_stands_elsewhere(client: FlaskClient) -> None:
    for path in ("/", "/console/faults/"):
        text = client.get(path, headers=OWN).text
        assert "http://" not in text.replace(f"http://{HOST}", "")
        assert "https://" not in text
        assert "<script>" not in text
        assert "style=" not in text


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"side": "Klaviyo", "fault": "status", "status": "429", "count": "3"}, ("status", 3, None, False)),
        ({"side": "Klaviyo", "fault": "HTML", "count": "1", "calls": "events"}, ("html403", 1, "POST /api/events", False)),
        ({"side": "Omneo", "fault": "slow", "seconds": "2.5", "count": "1"}, ("slow", 1, None, False)),
        ({"side": "Omneo", "fault": "reset", "until": "mended"}, ("reset", 1_000_000, None, False)),
        ({"side": "Omneo", "fault": "lost answer", "calls": "rewards", "count": "2"}, ("reset", 2, "* */api/v3/rewards*", True)),
    ],
)  # fmt: skip
def test_a_side_is_broken_as_it_was_ordered_and_mended(
    client: FlaskClient, sandbox: Sandbox, form: dict[str, str], expected: tuple[str, int, str | None, bool]
) -> None:
    answer = client.post("/console/faults/break", data=form, headers=OWN)
    assert answer.status_code == 303
    assert broken(sandbox) == [expected]
    assert form["fault"] in client.get("/console/faults/now", headers=OWN).text
    assert client.post("/console/faults/mend", headers=OWN).status_code == 303
    assert broken(sandbox) == []


@pytest.mark.parametrize(
    ("form", "named"),
    [
        ({}, "side"),
        ({"side": "Shopify", "fault": "reset"}, "side"),
        ({"side": "Omneo", "fault": "fire"}, "fault"),
        ({"side": "Omneo", "fault": "reset", "calls": "events", "count": "1"}, "calls"),
        ({"side": "Omneo", "fault": "reset", "count": "0"}, "Next calls"),
        ({"side": "Omneo", "fault": "reset", "count": "1.5"}, "Next calls"),
        ({"side": "Omneo", "fault": "reset", "count": "nan"}, "Next calls"),
        ({"side": "Omneo", "fault": "reset", "count": "1e9"}, "Next calls"),
        ({"side": "Omneo", "fault": "reset", "count": ""}, "Next calls"),
        ({"side": "Omneo", "fault": "status", "status": "200", "count": "1"}, "Status"),
        ({"side": "Omneo", "fault": "status", "status": "<b>", "count": "1"}, "Status"),
        ({"side": "Omneo", "fault": "slow", "seconds": "inf", "count": "1"}, "Seconds"),
    ],
)
def test_a_wrong_order_is_refused_by_the_name_of_the_field(
    client: FlaskClient, sandbox: Sandbox, form: dict[str, str], named: str
) -> None:
    answer = client.post("/console/faults/break", data=form, headers=OWN)
    assert answer.status_code == 400
    assert named in answer.text
    assert broken(sandbox) == []


def test_what_does_not_answer_is_named_and_the_page_stays(client: FlaskClient) -> None:
    answer = client.get("/console/desk/", headers=OWN)
    assert answer.status_code == 502
    assert f"http://{HOST} did not answer" in answer.text


def test_a_call_is_shown_with_its_secrets_masked_and_its_markup_harmless(
    client: FlaskClient, exchanges: "deque[Exchange]"
) -> None:
    exchanges.append(
        Exchange(
            1.0, "POST", "/demo/api/v1/targets/klaviyo/metric?metric=<script>alert(1)</script>&token=canary-token",
            [("traceparent", f"00-{'a' * 32}-{'b' * 16}-01"), ("x-omneo-secret", "canary-sent"), ("X-Odd", "<b>bold</b>")],
            b'{"profile": {"email": "<i>@canary.example"}, "note": "canary-secret, canary-sent"}',
            400, [("Content-Type", "application/json")], bytearray(b'{"error": {"message": "<img src=x>"}}'), 1.1,
        )
    )  # fmt: skip
    page = client.get("/", headers=OWN).text
    assert "&lt;img src=x&gt;" in page
    href = page.partition('data-href="')[2].partition('"')[0]
    for text in (page, client.get(href, headers=OWN).text):
        for raw in (
            "<img src=x>",
            "<b>bold",
            "<i>",
            "<script>alert",
            "canary-token",
            "canary-sent",
            "canary-secret",
        ):
            assert raw not in text, raw


@pytest.mark.parametrize(
    "traceparent", ["", "x", "00-zz", "00-" + "A" * 32 + "-" + "b" * 16 + "-01", "a-b-c-d-e"]
)
def test_a_callers_trace_that_is_none_stops_no_story(
    client: FlaskClient, exchanges: "deque[Exchange]", traceparent: str
) -> None:
    for number in range(2):
        exchanges.append(
            Exchange(1.0 + number, "POST", "/demo/api/v1/webhooks/omneo", [("traceparent", traceparent)], b"", 401, [], bytearray(), 2.0)
        )  # fmt: skip
    assert client.get("/", headers=OWN).text.count("<article") == 2


def test_what_an_earlier_start_has_logged_is_no_story_of_this_one(
    client: FlaskClient, tmp_path: Path
) -> None:
    told = {
        "message": "call answered",
        "function": "admin",
        "method": "GET",
        "path": "/earlier",
        "status": 200,
    }
    now = datetime.now(UTC)
    with (tmp_path / "admin.log").open("w") as log:
        for at, path in ((now - timedelta(hours=1), "/earlier"), (now + timedelta(seconds=1), "/later")):
            log.write(f"{at:%Y-%m-%dT%H:%M:%S.%f}Z {json.dumps({**told, 'path': path})}\n")
    page = client.get("/", headers=OWN).text
    assert "/later" in page
    assert "/earlier" not in page


def test_a_call_that_was_forgotten_says_so(client: FlaskClient) -> None:
    answer = client.get("/console/live/stories/7/1", headers={**OWN, "HX-Request": "true"})
    assert answer.status_code == 404
    assert answer.text.startswith("<p")
    assert "forgotten" in answer.text


@pytest.mark.parametrize("since", ["x", "-1", "1.5", "٣x"])
def test_a_stream_from_a_wrong_place_is_refused(client: FlaskClient, since: str) -> None:
    assert client.get("/console/live/stream", query_string={"since": since}, headers=OWN).status_code == 400


def test_a_filter_may_be_anything(client: FlaskClient) -> None:
    query = {"tenant": "../x", "profile": "'\"<&%\x00" * 500, "kind": "nothing", "state": "💥"}
    assert client.get("/", query_string=query, headers=OWN).status_code == 200


def test_the_chart_has_an_hour_a_bar_and_one_scale_for_all() -> None:
    hour = {"accepted": 0, "refused": 0, "delivered": 0, "waiting": 0, "dead": 0}
    report = {
        "until": "2026-11-30T09:39:19+00:00",
        "targets": [
            {"target": "metric", "metric": "Many", "times": [{**hour, "at": "2026-11-30T09:00:00+00:00", "delivered": 100}]},
            {"target": "metric", "metric": "Few", "times": [{**hour, "at": "2026-11-29T10:00:00+00:00", "delivered": 1, "dead": 1}]},
            {"target": "metric", "metric": "Old", "times": [{**hour, "at": "2026-11-29T09:00:00+00:00", "delivered": 5}]},
        ],
    }  # fmt: skip
    many, old, few = chart(report)
    assert [len(row.bars) for row in (many, old, few)] == [24, 24, 24]
    assert many.bars[-1].heights == {"delivered": (0.0, 100.0)}
    assert few.bars[0].heights == {"delivered": (96.0, 4.0), "dead": (92.0, 4.0)}
    assert not any(bar.heights for bar in old.bars)  # it is older than the chart
    assert (many.name, many.target, many.totals["delivered"]) == ("Many", "metric", 100)


def test_a_chart_of_nothing_is_empty() -> None:
    assert chart({"until": "2026-11-30T09:39:19+00:00", "targets": []}) == []
