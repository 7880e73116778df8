"""From an event in Omneo to a signed call of a target: what a user sets up, and what is then sent."""

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import requests

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.omneo.json_logic import UnknownOperatorError, evaluate
from deploy.local.sandbox.omneo.profiles import stamp
from deploy.local.sandbox.omneo.twig import TemplateFailedError, Twig, number_format
from deploy.local.sandbox.omneo.twig.date_format import php_date
from tests.deploy.local.sandbox.times import NOON

SECRET = "canary-signing-secret"
Call = Callable[..., requests.Response]


class Endpoint(HTTPServer):
    """Stands where the extension will stand: keeps what it is sent, answers with `statuses` in turn, then 202."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook?withToken=true"


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(
            (self.path, {name.lower(): self.headers[name] for name in self.headers}, body)
        )
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 202)
        self.end_headers()
        self.wfile.write(b'{"status": "queued"}')

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(token_prefix="canary-token") as sandbox:
        sandbox.omneo.tenant("acme", token="canary-token-acme", signing_secret=SECRET)
        yield sandbox


def a_target(**changes: Any) -> dict[str, Any]:
    return {
        "name": "Reward Issued",
        "handle": "reward-issued",
        "url": "https://extension.example.org/",
        "template": '{"email": "{{ profile.email }}"}',
        **changes,
    }


def a_trigger(*actions: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"name": "On reward", "trigger": "reward.created", "actions": list(actions), **changes}


def an_action(name: str, argument: str, value: Any, order: int = 1, key: str = "name") -> dict[str, Any]:
    return {
        key: name,
        "sort_order": order,
        "arguments": [{"name": argument, "value": value, "is_dynamic": None}],
    }


def test_a_reaction_set_up_over_the_api_sends_a_signed_body(
    sandbox: Sandbox, endpoint: Endpoint, call: Call
) -> None:
    template = '{"email": "{{ profile.email }}", "amount": {{ value_initial }}}'
    call("POST", "/targets", a_target(url=endpoint.url, template=template))
    call("POST", "/triggers", a_trigger(an_action("target.send", "target", "reward-issued")))
    context = {"value_initial": 20.0, "profile": {"email": "canary-jane@example.org"}}
    (delivery,) = sandbox.omneo.fire("acme", "reward.created", context)

    ((path, headers, body),) = endpoint.received
    assert body == b'{"email": "canary-jane@example.org", "amount": 20}'
    assert path == "/hook?withToken=true"
    assert headers["content-type"] == "application/json"
    assert headers["x-omneo-hmac-sha256"] == hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert (delivery.status, delivery.answer, delivery.error) == (202, {"status": "queued"}, "")
    assert delivery.sent_at is not None
    assert delivery.answered_at is not None
    assert delivery.fired_at <= delivery.sent_at <= delivery.answered_at
    assert sandbox.omneo.deliveries("acme") == [delivery]


def test_only_active_reactions_to_the_event_run_in_the_order_of_their_actions(
    sandbox: Sandbox, endpoint: Endpoint, call: Call
) -> None:
    for handle in ("one", "two"):
        sandbox.omneo.target("acme", handle=handle, url=endpoint.url, template={"to": handle})
    sends = an_action("tsend", "any", "two", 2, key="uuid"), an_action("target.send", "target", "one", 1)
    call("POST", "/triggers", a_trigger(*sends))
    call("POST", "/triggers", a_trigger(*sends, is_active=False))
    call("POST", "/triggers", a_trigger(*sends, trigger="profile.updated"))
    sandbox.omneo.fire("acme", "reward.created", {})
    assert [json.loads(body) for _, _, body in endpoint.received] == [{"to": "one"}, {"to": "two"}]


@pytest.mark.parametrize(("tier", "sent"), [("gold", 1), ("silver", 0)])
@pytest.mark.parametrize("where", ["filter", "target"])
def test_a_condition_that_is_not_met_sends_nothing(
    sandbox: Sandbox, endpoint: Endpoint, tier: str, sent: int, where: str
) -> None:
    rule = {"===": [{"var": "tier.handle"}, "gold"]}
    sandbox.omneo.target(
        "acme", handle="t", url=endpoint.url, template={}, condition=rule if where == "target" else None
    )
    sandbox.omneo.reaction("acme", "tier.achieved", "t", condition=rule if where == "filter" else None)
    assert len(sandbox.omneo.fire("acme", "tier.achieved", {"tier": {"handle": tier}})) == sent
    assert len(endpoint.received) == sent


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (
            {"template": "{{ day|date('jS') }}"},
            "TemplateFailedError: line 1, column 8: The text is no date that can be read here.",
        ),
        ({"condition": {"soundex": ["a"]}}, "UnknownOperatorError: unknown operator"),
        ({"url": "http://127.0.0.1:1/"}, "ConnectionError"),
    ],
)
def test_what_could_not_be_sent_is_noted_with_its_reason(
    sandbox: Sandbox, endpoint: Endpoint, changes: dict[str, Any], error: str
) -> None:
    plain: dict[str, Any] = {"handle": "t", "url": endpoint.url, "template": {}}
    sandbox.omneo.target("acme", **{**plain, **changes})
    sandbox.omneo.reaction("acme", "profile.updated", "t")
    (delivery,) = sandbox.omneo.fire("acme", "profile.updated", {"day": "someday"})
    assert (delivery.status, delivery.error) == (None, error)
    assert endpoint.received == []


def test_a_reaction_to_no_such_target_is_noted(sandbox: Sandbox) -> None:
    sandbox.omneo.reaction("acme", "profile.updated", "gone")
    (delivery,) = sandbox.omneo.fire("acme", "profile.updated", {})
    assert (delivery.target, delivery.error) == ("gone", "no such target")


def test_a_failed_target_is_called_again_only_if_the_tenant_retries(
    sandbox: Sandbox, endpoint: Endpoint
) -> None:
    sandbox.omneo.target("acme", handle="t", url=endpoint.url, template={})
    sandbox.omneo.reaction("acme", "profile.updated", "t")
    endpoint.statuses = [503]
    assert [row.status for row in sandbox.omneo.fire("acme", "profile.updated", {})] == [503]
    sandbox.omneo.tenant("acme", signing_secret=SECRET, retries=2)
    sandbox.omneo.target("acme", handle="t", url=endpoint.url, template={})
    sandbox.omneo.reaction("acme", "profile.updated", "t")
    endpoint.statuses = [503, 500]
    again = sandbox.omneo.fire("acme", "profile.updated", {})
    assert [(row.attempt, row.status) for row in again] == [(1, 503), (2, 500), (3, 202)]


def test_a_target_is_made_changed_listed_and_removed(call: Call) -> None:
    made = call("POST", "/targets", a_target(notes="n"))
    assert made.status_code == 201
    target = made.json()["data"]
    assert {"id": 1, "notes": "n", "description": None, "condition": None}.items() <= target.items()
    changed = call("PUT", "/targets/1", {"url": "https://other.example.org/"}).json()["data"]
    assert (changed["url"], changed["handle"]) == ("https://other.example.org/", "reward-issued")
    assert call("GET", "/targets").json()["data"] == [changed]
    removed = call("DELETE", "/targets/1")
    assert (removed.status_code, removed.content) == (204, b"")
    assert call("GET", "/targets/1").status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/targets", a_target(handle="taken"), "handle"),
        ("/targets", a_target(name=None), "name"),
        ("/targets", a_target(url="extension"), "url"),
        ("/targets", a_target(template={"an": "object"}), "template"),
        ("/targets", a_target(template="{{ unclosed"), "template"),
        ("/triggers", a_trigger(trigger=""), "trigger"),
        ("/triggers", a_trigger(actions={}), "actions"),
        ("/triggers", a_trigger(an_action("reward.create", "a", 1)), "actions.0.name"),
        ("/triggers", a_trigger({"name": "target.send", "arguments": "t"}), "actions.0.arguments"),
        ("/triggers", a_trigger(an_action("filter", "condition", {}) | {"sort_order": "1"}), "actions.0.sort_order"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_422_by_field(call: Call, path: str, body: dict[str, Any], field: str) -> None:
    call("POST", "/targets", a_target(handle="taken"))
    answer = call("POST", path, body)
    assert (answer.status_code, list(answer.json()["errors"])) == (422, [field])


def test_a_target_keeps_its_own_handle_when_it_is_written_again(call: Call) -> None:
    call("POST", "/targets", a_target())
    assert call("PUT", "/targets/1", a_target(name="Other")).status_code == 200


@pytest.mark.parametrize(
    ("template", "printed"),
    [
        ("{{ yes }}|{{ no }}|{{ nothing }}|{{ missing }}|{{ missing.deep.path }}", "1||||"),
        ("{{ whole }} {{ part }} {{ number }}", "25 0.1 7"),
        ("{{ order.items }} {{ order.values }}", "3 x"),
        ("{{ nothing.deep }}{{ number.deep }}", ""),
        ("{{ value|number_format(2) }} {{ value|number_format }}", "1,234.50 1,235"),
        ("{{ 'abc'|number_format }} {{ missing|number_format(1) }}", "0 0.0"),
        ("{{ day|date('jS F Y') }} {{ nothing|date('Y') }}", "22nd March 2026 2026"),
        ("{{ 0|date('c') }}", "1970-01-01T00:00:00+00:00"),
        ("{% for i in identities %}{% if i.handle == 'klaviyo' %}{{ i.identifier }}{% endif %}{% endfor %}", "01HX"),
        ("{{ missing|default('a') }}{{ nothing|default('b') }}{{ no|default('c') }}{{ zero|default('d') }}", "abc0"),
        ("{{ quote|json_encode }} {{ quote|raw }}", '"say \\"hi\\"" say "hi"'),
        ("{% if nothing is null and missing is empty and zero is not empty %}ok{% endif %}", "ok"),
        ("{{ identities }}", "Array"),
    ],
)  # fmt: skip
def test_templates_print_as_twig_does(template: str, printed: str) -> None:
    context = {
        "yes": True,
        "no": False,
        "nothing": None,
        "zero": 0,
        "whole": 25.0,
        "part": 0.1,
        "number": 7,
        "value": "1234.5",
        "day": "2026-03-22 10:00:00",
        "order": {"items": 3, "values": "x"},
        "quote": 'say "hi"',
        "identities": [{"handle": "shopify", "identifier": "9"}, {"handle": "klaviyo", "identifier": "01HX"}],
    }
    assert Twig(lambda: NOON).render(template, context) == printed


@pytest.mark.parametrize(
    "template", ["{{ ''.__class__.__mro__ }}{{ f.x() }}", "{{ 'x'|nosuch }}", "{{ a b }}"]
)
def test_a_template_that_cannot_be_rendered_says_so(template: str) -> None:
    with pytest.raises(TemplateFailedError):
        Twig(lambda: 0.0).render(template, {})


@pytest.mark.parametrize(
    ("day", "suffix"),
    [(1, "st"), (2, "nd"), (3, "rd"), (4, "th"), (11, "th"), (12, "th"), (13, "th"), (21, "st"), (31, "st")],
)
def test_days_have_their_english_endings(day: int, suffix: str) -> None:
    assert php_date(datetime(2026, 1, day, tzinfo=UTC), "jS") == f"{day}{suffix}"


def test_every_letter_of_a_date_is_phps() -> None:
    moment = datetime(2026, 3, 2, 15, 4, 5, tzinfo=UTC)
    written = php_date(moment, r"d j D l m n M F Y y H G h g i s A a U \Y")
    assert written == "02 2 Mon Monday 03 3 Mar March 2026 26 15 15 03 3 04 05 PM pm 1772463845 Y"


def test_numbers_are_rounded_away_from_zero_and_grouped() -> None:
    assert [number_format(0.5), number_format(-2.5), number_format(1234567.891, 2, ",", ".")] == [
        "1",
        "-3",
        "1.234.567,89",
    ]


def test_times_are_written_without_a_zone() -> None:
    assert stamp(1_790_000_000.9) == "2026-09-21 14:13:20"


DATA = {"email": "a", "n": 5, "t": {"rank": 2}, "tags": ["vip"], "list": [{"x": 1}], "no": None, "flag": True}


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ({"var": "t.rank"}, 2),
        ({"var": ["missing.path", "x"]}, "x"),
        ({"var": "list.0.x"}, 1),
        ({"var": ""}, DATA),
        ({"===": [{"var": "n"}, 5.0]}, True),
        ({"===": [{"var": "flag"}, 1]}, False),
        ({"!==": [{"var": "n"}, "5"]}, True),
        ({"==": [1, 1]}, True),
        ({"!=": [1, 1]}, False),
        ({">": [{"var": "n"}, 4]}, True),
        ({">=": [{"var": "n"}, 5]}, True),
        ({"<": [{"var": "no"}, 1]}, True),
        ({"<": [1, {"var": "n"}, 9]}, True),
        ({"<=": [6, {"var": "n"}]}, False),
        ({">": [{"var": "email"}, 1]}, False),
        ({"in": ["vip", {"var": "tags"}]}, True),
        ({"in": ["b", "abc"]}, True),
        ({"in": ["b", None]}, False),
        ({"not_in": ["staff", {"var": "tags"}]}, True),
        ({"!": {"var": "no"}}, True),
        ({"!!": [{"var": "tags"}]}, True),
        ({"and": [True, {"var": "n"}]}, 5),
        ({"and": [False, {"boom": 1}]}, False),
        ({"or": [0, "x", {"boom": 1}]}, "x"),
    ],
)
def test_json_logic_comes_to(rule: Any, value: Any) -> None:
    assert evaluate(rule, DATA) == value
    assert type(evaluate(rule, DATA)) is type(value)


def test_an_operator_that_nobody_documented_is_refused() -> None:
    with pytest.raises(UnknownOperatorError):
        evaluate({"soundex": ["a"]}, {})
