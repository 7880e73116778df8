"""What the pages hide, wherever it stands, and what they leave."""

import json
import time

import pytest

from deploy.local.console.masking import HIDDEN, Mask, is_secret

JSON = "application/json"
TOKEN = "c2VjcmV0K3Rva2VuLw=="  # standard base64, as Omneo's ID tokens are


@pytest.mark.parametrize(
    "name",
    ["Authorization", "x-omneo-secret", "X-Omneo-Hmac-SHA256", "Klaviyo-Signature", "omneo_id_token", "idToken", "Set-Cookie",
     "client_secret", "refresh_token", "installation_key", "api-key", "password", "webhook_secret", "code_verifier"],
)  # fmt: skip
def test_what_stands_under_a_secrets_name_is_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    ["email", "token_type", "token_expires_at", "state", "code", "link", "status", "reward_code", "key", "unique_id", "withToken"],
)  # fmt: skip
def test_a_word_is_no_secret(name: str) -> None:
    assert not is_secret(name)


def test_a_header_is_named_and_its_value_hidden() -> None:
    told = [("Authorization", "Bearer canary-token-1"), ("x-omneo-secret", "canary-secret"), ("Host", "here")]
    assert Mask().headers(told) == [
        ("Authorization", f"Bearer {HIDDEN}"),
        ("x-omneo-secret", HIDDEN),
        ("Host", "here"),
    ]


def test_a_header_whose_value_was_not_kept_teaches_nothing() -> None:
    mask = Mask()
    assert mask.headers([("authorization", ""), ("host", "")]) == [("authorization", HIDDEN), ("host", "")]
    assert mask.text("a word") == "a word"


def test_a_field_of_json_is_hidden_at_any_depth_and_others_are_left() -> None:
    body = {"data": [{"attributes": {"properties": {"id_token": TOKEN, "amount": 20}, "state": "VIC"}}]}
    shown = json.loads(Mask().body(json.dumps(body).encode(), JSON))
    attributes = shown["data"][0]["attributes"]
    assert attributes == {"properties": {"id_token": HIDDEN, "amount": 20}, "state": "VIC"}


def test_a_value_that_stood_under_a_secrets_name_is_hidden_everywhere_else() -> None:
    mask = Mask()
    mask.body(json.dumps({"token": TOKEN}).encode(), JSON)
    for text in (f"see {TOKEN}", "https://shop/?t=c2VjcmV0K3Rva2VuLw%3D%3D", f"/a/{TOKEN}/b"):
        assert "c2VjcmV0" not in mask.text(text), text
    later = json.dumps({"link": f"https://shop.example/?to={TOKEN}"}).encode()
    assert "c2VjcmV0" not in mask.body(later, JSON)


def test_a_parameter_of_an_address_is_hidden_also_inside_a_body() -> None:
    mask = Mask()
    assert mask.text("/klaviyo/callback?code=abc123&state=xyz&ok=1") == (
        f"/klaviyo/callback?code={HIDDEN}&state={HIDDEN}&ok=1"
    )
    shown = mask.body(b'{"url": "https://x.example/go?id_token=canary%2Btoken&page=2"}', JSON)
    assert "canary" not in shown
    assert "page=2" in shown


def test_a_form_shows_a_field_a_line_and_hides_what_oauth_keeps_secret() -> None:
    form = b"grant_type=refresh_token&refresh_token=canary-refresh&client_id=me&code=canary-code"
    shown = Mask().body(form, "application/x-www-form-urlencoded")
    assert shown.splitlines() == [
        "grant_type=refresh_token",
        f"refresh_token={HIDDEN}",
        "client_id=me",
        f"code={HIDDEN}",
    ]


def test_json_that_is_cut_off_is_masked_all_the_same() -> None:
    shown = Mask().body(b'{"access_token": "canary-access", "note": "x", "refresh_token": "canary-ref', JSON)
    assert "canary" not in shown
    assert '"note": "x"' in shown


def test_json_that_stands_as_a_text_in_json_is_masked() -> None:
    template = json.dumps({"webhook_secret": "canary-inner", "name": "x"})
    shown = Mask().body(json.dumps({"template": template}).encode(), JSON)
    assert "canary" not in shown


def test_an_attribute_list_of_names_and_values_is_masked() -> None:
    headers = [{"name": "x-omneo-secret", "value": "canary-value"}, {"name": "shop", "value": "Sydney"}]
    shown = json.loads(Mask().body(json.dumps({"headers": headers}).encode(), JSON))
    assert [row["value"] for row in shown["headers"]] == [HIDDEN, "Sydney"]


def test_the_fields_of_a_page_are_hidden() -> None:
    page = (
        b'<form><input type="hidden" name="confirmation" value="canary-confirmation"><p>Connect?</p></form>'
    )
    shown = Mask().body(page, "text/html")
    assert "canary" not in shown
    assert "Connect?" in shown


def test_a_token_is_known_by_its_looks() -> None:
    for token in (
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl",
        "oik_CvhzuANwEKPQ0OSF2ayW8b8",
        "sandbox-access-3f0011aa22",
    ):
        assert Mask().text(f"it was {token}.") == f"it was {HIDDEN}."  # fmt: skip


def test_what_is_learned_is_bounded_and_no_short_word_is_hidden() -> None:
    mask = Mask(["canary-always"], most=10)
    for number in range(100):
        mask.learn(f"canary-{number:04}")
    assert mask.text("canary-0000") == "canary-0000"
    assert mask.text("canary-0099 canary-always") == f"{HIDDEN} {HIDDEN}"
    mask.learn("on")
    assert mask.text("on time") == "on time"


def test_hostile_bodies_do_no_harm() -> None:
    mask = Mask()
    for number in range(500):
        mask.learn(f"canary-token-{number}")
    began = time.process_time()
    for body in (b"", b"\xff\xfe\x00", b"[" * 64_000, b'"' * 64_000, b'{"a":' * 12_000, b"<input " * 9_000, b"eyJ-" * 16_000,
                 b'"a": "\\' * 9_000, b"a" * 64_000, b"?a=" * 20_000):  # fmt: skip
        assert isinstance(mask.body(body, JSON), str)
    assert time.process_time() - began < 3
