"""What is ordered over HTTP below /_sandbox: a field of another name or type is refused by its name, and nothing is done."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from deploy.local.sandbox import Sandbox

Json = dict[str, Any]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(token_prefix="canary-token") as sandbox:
        sandbox.omneo.tenant("acme", token="canary-token-omneo")
        yield sandbox


def told(sandbox: Sandbox, service: str, path: str, order: object) -> requests.Response:
    url = {"klaviyo": sandbox.klaviyo.url, "omneo": sandbox.omneo.url}[service]
    return requests.post(f"{url}/_sandbox/{path}", json=order, timeout=60)


@pytest.mark.parametrize(
    ("service", "path", "order", "named"),
    [
        ("klaviyo", "fail", {"next": "1"}, "next"),
        ("klaviyo", "fail", {"next": True}, "next"),
        ("klaviyo", "fail", {"next": 1.5}, "next"),
        ("klaviyo", "fail", {"next": -1}, "next"),
        ("klaviyo", "fail", {"status": "503"}, "status"),
        ("klaviyo", "fail", {"status": 99}, "status"),
        ("klaviyo", "fail", {"kind": "explode"}, "kind"),
        ("klaviyo", "fail", {"match": 7}, "match"),
        ("klaviyo", "fail", {"match": "POST/api/events"}, "match"),
        ("klaviyo", "fail", {"headers": []}, "headers"),
        ("klaviyo", "fail", {"headers": {"a": 1}}, "headers.a"),
        ("klaviyo", "fail", {"headers": {"a\r\nb": "c"}}, "headers"),
        ("klaviyo", "fail", {"seconds": "1"}, "seconds"),
        ("klaviyo", "fail", {"seconds": -1}, "seconds"),
        ("klaviyo", "fail", {"takes_effect": "no"}, "takes_effect"),
        ("klaviyo", "fail", {"nxt": 1}, "nxt"),
        ("klaviyo", "fail", [], "the order"),
        ("klaviyo", "clock", {"advance": "5"}, "advance"),
        ("klaviyo", "clock", {}, "advance"),
        ("klaviyo", "seed", {"accunts": []}, "accunts"),
        ("klaviyo", "seed", {"accounts": "x"}, "accounts"),
        ("klaviyo", "seed", {"accounts": [{"account": 7}]}, "accounts[0].account"),
        ("klaviyo", "seed", {"profiles": [{"account": "A", "email": 7}]}, "profiles[0].email"),
        ("klaviyo", "seed", {"lists": [{"account": "A"}]}, "lists[0].name"),
        ("klaviyo", "seed", {"installs": [{"account": "A", "scopes": ["x"]}]}, "installs[0].scopes"),
        ("klaviyo", "switches", {"rotates": "yes"}, "rotates"),
        ("klaviyo", "switches", {"job_seconds": "1"}, "job_seconds"),
        ("klaviyo", "switches", {"plan_lacks": "x"}, "plan_lacks"),
        ("klaviyo", "switches", {"auto_consent": "maybe"}, "auto_consent"),
        ("klaviyo", "unsubscribe", {"account": "A", "profile": 7}, "profile"),
        ("klaviyo", "unsubscribe", {"account": "A", "profile": "x", "chanel": "sms"}, "chanel"),
        ("klaviyo", "unsubscribe", {"account": "A", "profile": "x", "at": "now"}, "at"),
        ("klaviyo", "seed-profiles", {"account": "A", "count": "3", "profile": {}}, "count"),
        ("klaviyo", "flows", {"account": "A", "url": 7, "body": ""}, "url"),
        ("klaviyo", "send-raw", {"account": "A", "webhook_id": "x", "body": 7}, "body"),
        ("omneo", "seed", {"tenant": []}, "tenant"),
        ("omneo", "seed", {"tenants": [7]}, "tenants[0]"),
        ("omneo", "seed", {"tenants": [{"name": "b", "retries": "3"}]}, "tenants[0].retries"),
        ("omneo", "seed", {"tenants": [{"name": "b", "tokn": "x"}]}, "tenants[0].tokn"),
        ("omneo", "seed", {"profiles": [{"tenant": "acme", "email": 7}]}, "profiles[0].email"),
        ("omneo", "seed", {"profiles": [{"tenant": "acme", "identities": "x"}]}, "profiles[0].identities"),
        ("omneo", "seed", {"profiles": [{"tenant": "acme", "attributes": []}]}, "profiles[0].attributes"),
        ("omneo", "seed", {"reactions": [{"tenant": "acme", "trigger": "x", "targets": "y"}]}, "reactions[0].targets"),
        ("omneo", "seed", {"webhooks": [{"tenant": "acme", "trigger": 7}]}, "trigger"),
        ("omneo", "switches", {"id_token_seconds": "x"}, "id_token_seconds"),
        ("omneo", "reward_rules", {"tenant": "acme", "numbers_as_text": "x"}, "numbers_as_text"),
        ("omneo", "acme/events", {"trigger": "x", "context": []}, "context"),
        ("omneo", "create-profile", {"tenant": "acme", "email": 7}, "profile.email"),
    ],
)  # fmt: skip
def test_an_order_of_a_wrong_type_or_name_is_400_and_names_the_field(
    sandbox: Sandbox, service: str, path: str, order: object, named: str
) -> None:
    answer = told(sandbox, service, path, order)
    assert answer.status_code == 400
    assert named in answer.json()["error"]


def test_nothing_is_made_of_an_order_that_is_wrong_in_its_last_row(sandbox: Sandbox) -> None:
    rows = [{"tenant": "acme", "email": "canary-a@example.org"}, {"tenant": "acme", "email": 7}]
    before = sandbox.omneo.profiles("acme")
    assert told(sandbox, "omneo", "seed", {"profiles": rows}).status_code == 400
    assert sandbox.omneo.profiles("acme") == before


@pytest.mark.parametrize(
    ("service", "path", "order"),
    [
        ("klaviyo", "fail", {"next": 2, "match": "*", "status": 404, "headers": {"Retry-After": "1"}, "body": {"errors": []}}),
        ("klaviyo", "fail", {"next": 0}),
        ("klaviyo", "switches", {"plan_lacks": ["x"], "auto_deliver": None, "job_seconds": 1, "redirect_uris": None}),
        ("klaviyo", "switches", {"plan_lacks": []}),
        ("omneo", "seed", {"profiles": [{"tenant": "acme", "email": None, "identities": [{"handle": "klaviyo", "identifier": "01HX"}], "odd": 7}]}),
        ("omneo", "change-profile", {"tenant": "acme", "id": "p-1", "email": "canary-b@example.org", "comms": {"email_promo": True}}),
    ],
)  # fmt: skip
def test_an_order_of_the_right_types_is_carried_out(
    sandbox: Sandbox, service: str, path: str, order: Json
) -> None:
    sandbox.omneo.profile("acme", id="p-1")
    assert told(sandbox, service, path, order).status_code == 200
