"""The pages Targets, Flows, People and Tenants without a browser: what a wrong order is answered, and what nobody is sent."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from deploy.local.sandbox import Sandbox
from deploy.targets.catalogue import sample, template
from tests.deploy.local.console.conftest import HOST, OWN
from tests.deploy.local.receiving import Receiver, receiving

TEXT = template("custom", "reward-issued")
TRIED = {
    "platform": "custom",
    "notification": "reward-issued",
    "template": TEXT,
    "context": json.dumps(sample("reward-issued")),
}


@pytest.fixture
def sandbox(sandbox: Sandbox) -> Sandbox:
    """Return the sandbox, with a tenant and its account."""
    sandbox.omneo.tenant("demo", token="canary-token", signing_secret="canary-signing")
    sandbox.klaviyo.account("DemoAc")
    return sandbox


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def post(client: FlaskClient, path: str, **form: Any) -> str:
    """Return what a page answers to a form, as text."""
    answer = client.post(f"/console/{path}", data=form, headers=OWN)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_a_target_is_sent_through_omneo_signed_to_the_address_that_was_filled_in(
    client: FlaskClient, sandbox: Sandbox, receiver: Receiver
) -> None:
    assert "202" in post(client, "targets/send", **TRIED, url=receiver.url)
    (request,) = receiver.received
    assert json.loads(request.body)["notification"] == "reward-issued"
    assert "x-omneo-hmac-sha256" in request.headers
    (delivery,) = sandbox.omneo.deliveries("demo")
    assert (delivery.trigger, delivery.target) == ("reward.created", "custom-reward-issued")


def test_a_platforms_headers_go_with_the_call_as_they_are_filled_in(
    client: FlaskClient, receiver: Receiver
) -> None:
    braze = {**TRIED, "platform": "braze", "url": receiver.url}
    as_it_stands = post(client, "targets/send", **braze, **{"header-Authorization": "Bearer REST_API_KEY"})
    assert "Nothing was sent. Fill in the header Authorization" in as_it_stands
    post(client, "targets/send", **braze, **{"header-Authorization": "Bearer canary-key"})
    post(client, "targets/send", **braze, **{"header-Authorization": ""})
    given = [request.headers.get("authorization") for request in receiver.received]
    assert given == ["Bearer canary-key", None]


def test_a_header_that_cannot_be_sent_is_told_and_nothing_is_sent(
    client: FlaskClient, receiver: Receiver
) -> None:
    braze = {**TRIED, "platform": "braze", "url": receiver.url}
    for value in ("Bearer a\r\nX-Canary: b", "Bearer \N{SNOWMAN}"):
        assert "in one line" in post(client, "targets/send", **braze, **{"header-Authorization": value})
    assert receiver.received == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"url": ""}, "Fill in URL"),
        ({"url": "file:///etc/passwd"}, "Fill in URL"),
        ({"url": "https://SERVICE/omneo"}, "Fill in SERVICE"),
        ({"template": "{{"}, "no JSON yet"),
        ({"context": "canary"}, "no JSON yet"),
    ],
)
@pytest.mark.parametrize("path", ["targets/send", "targets/save"])
def test_what_is_not_ready_is_neither_sent_nor_saved(
    client: FlaskClient, sandbox: Sandbox, path: str, fields: dict[str, str], says: str
) -> None:
    assert says in post(client, path, **{**TRIED, "url": "https://canary.example.org", **fields})
    assert sandbox.omneo.deliveries("demo") == []


def test_what_is_typed_is_shown_as_text_and_never_as_markup(client: FlaskClient) -> None:
    hostile = '{"a": "<script>canary</script>" x'
    shown = post(client, "targets/tried", **{**TRIED, "template": hostile})
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    named = json.dumps({**sample("reward-issued"), "definition": {"name": "<img src=canary>"}})
    assert "<img" not in post(client, "targets/tried", **{**TRIED, "context": named})


def test_another_profile_changes_the_context_and_an_unknown_one_keeps_the_samples(
    client: FlaskClient, sandbox: Sandbox
) -> None:
    person = sandbox.omneo.profile("demo", email="canary@example.org", first_name="Pat")
    for profile, email in ((person["id"], "canary@example.org"), ("canary", "jane@example.org")):
        query = f"notification=reward-issued&profile={profile}"
        assert email in client.get(f"/console/targets/context?{query}", headers={"Host": HOST}).text


@pytest.mark.parametrize(
    "path", ["targets/?platform=canary", "targets/?notification=canary", "people/?profile=canary"]
)
def test_what_is_not_there_is_404(client: FlaskClient, path: str) -> None:
    assert client.get(f"/console/{path}", headers={"Host": HOST}).status_code == 404


def test_an_act_that_nobody_knows_or_cannot_do_is_told(client: FlaskClient, sandbox: Sandbox) -> None:
    person = sandbox.omneo.profile("demo", email="canary@example.org")
    path = f"people/{person['id']}/act"
    assert client.post(f"/console/{path}", data={"act": "erase"}, headers=OWN).status_code == 400
    assert client.post("/console/people/canary/act", data={"act": "sync"}, headers=OWN).status_code == 404
    assert "Klaviyo does not know this person yet" in post(client, path, act="bounce")
    sandbox.klaviyo.profile("DemoAc", email="canary@example.org")
    assert "the profile has no phone_number" in post(client, path, act="subscribe", channel="sms")
    assert "email or sms" in post(client, path, act="unsubscribe", channel="canary")
    assert "Write the new email address" in post(client, path, act="change-email", email="canary")


def test_people_and_staff_act_on_their_own_side_alone(client: FlaskClient, sandbox: Sandbox) -> None:
    person = sandbox.omneo.profile("demo", email="canary@example.org")
    other = sandbox.klaviyo.profile("DemoAc", email="canary@example.org")
    path = f"people/{person['id']}/act"
    post(client, path, act="subscribe", channel="email")
    assert other.subscriptions.consents["email"].status == "SUBSCRIBED"
    assert sandbox.omneo.comms("demo", person["id"])["email_promo"] is None
    post(client, path, act="opt-out", channel="sms")
    comms = sandbox.omneo.comms("demo", person["id"])
    assert (comms["sms_promo"], comms["sms_optout"], comms["email_optout"]) == (False, True, None)
    assert comms["sms_consent_updated_at"]
    assert other.subscriptions.consents["sms"].status == "NEVER_SUBSCRIBED"


def test_a_flow_without_json_or_a_template_is_told(client: FlaskClient, sandbox: Sandbox) -> None:
    profile = sandbox.klaviyo.profile("DemoAc", email="canary@example.org").id
    assert "Event is no JSON" in post(client, "flows/run", profile=profile, event="{", body="{}")
    assert "object of properties" in post(client, "flows/run", profile=profile, event="[]", body="{}")
    assert "url must be" not in post(client, "flows/run", profile=profile, event="{}", body="{% if %}")
    assert "refused" in post(client, "flows/run", profile="canary", event="{}", body="{}")
    assert "Amount" in post(client, "flows/body", definition="1", id="a", amount="x")


def test_what_does_not_answer_is_told_and_breaks_nothing(client: FlaskClient) -> None:
    for path in ("tenants/", "people/canary/why"):
        answer = client.get(f"/console/{path}", headers={"Host": HOST})
        assert (answer.status_code, "did not answer" in answer.text) == (502, True)
