"""What is recorded holds nothing of anybody's, whatever an answer holds and wherever it stands; and it keeps the form that it had."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.rehearsal.answers import read_answers
from deploy.rehearsal.exchanges import Exchange
from deploy.rehearsal.recording import recorded
from deploy.rehearsal.scrubbing import Scrubber
from deploy.rehearsal.shapes import shape_of
from shared.http.answers import Answer

KNOWN = read_answers(Path(__file__).parents[2] / "answers" / "known")
# No made-up value holds these, and every true one below does.
MARKS = ("quokka", "4815162342", "1987", "48.15")
TEXTS = (
    "quokka@quokka.example",
    "Quokka Smith",
    "Quokka",
    "QUOKKA",
    "quokka-smith-7",
    "01QUOKKAQUOKKAQUOKKA4815162342",
    "4815162342",
    "+4815162342",
    "-48.15",
    "1987-06-05",
    "1987-06-05T04:03:02.123456+01:00",
    "1987-06-05 04:03:02",
    "https://quokka.example/quokka?quokka=quokka#quokka",
    "https://a.klaviyo.com/api/profiles/01QUOKKA?page[cursor]=quokka4815162342&quokka[quokka]=Quokka Smith",
    "https://quokka.example/*****",
    "http://[quokka/api/quokka",
    "quokka.quokka.quokka",
    "event:quokka.quokka_quokka",
    "No profile Quokka Smith `01QUOKKA` with quokka@quokka.example exists.",
    "/data/attributes/properties/quokka/quokka",
    "<quokka>",
    "quokka\u00e4\u4e00\u0661",
    "\ud83d quokka",
)
# A word in small letters is a code where a code stands, and so on; everywhere else it is somebody's.
WORDS = {"code", "type", "error", "pointer", "parameter"}
NUMBERS = (4815162342, -4815162342, 48.15, 48151623424815162342, True, None, 0)
FREE = (
    "properties",
    "event_properties",
    "custom_fields",
    "custom_attributes",
    "record",
    "append",
    "metadata",
)
NAMES_OF_PEOPLE = (
    "Quokka Smith",
    "quokka@quokka.example",
    "QUOKKA",
    "quokka 4815162342",
    "4815162342",
    "Quokka\u00e4",
)


def names_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {*value, *(name for inner in value.values() for name in names_in(inner))}
    return {name for row in value for name in names_in(row)} if isinstance(value, list) else set()


FIELDS = sorted(set().union(*(names_in(row.body) | names_in(row.sent) for row in KNOWN)) | {*FREE, "meta"})


def survivors(made: Any) -> list[str]:
    """Return the marks of true values that are left."""
    text = json.dumps(made, ensure_ascii=False).casefold()
    return [mark for mark in MARKS if mark in text]


LEAVES: st.SearchStrategy[Any] = st.sampled_from([*TEXTS, *NUMBERS])


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def of(name: str) -> st.SearchStrategy[tuple[str, Any]]:
        words = st.just("quokka") if name not in WORDS else st.nothing()
        return st.tuples(st.just(name), st.one_of(words, inner))

    names = st.sampled_from([*FIELDS, *NAMES_OF_PEOPLE])
    return st.lists(names.flatmap(of), max_size=6).map(dict)


def own_objects(name: str) -> st.SearchStrategy[Any]:
    """Return what stands in a place of a customer's own: whatever names, a bare word among them."""
    names = st.sampled_from([*NAMES_OF_PEOPLE, "quokka", "$quokka", "quokka_smith"])
    inner = st.dictionaries(names, st.one_of(LEAVES, st.lists(LEAVES, max_size=2)), max_size=3)
    return st.dictionaries(names, st.one_of(LEAVES, inner), max_size=3).map(lambda own: {name: own})


BODIES = st.recursive(
    st.one_of(LEAVES, st.sampled_from(FREE).flatmap(own_objects)),
    lambda inner: st.one_of(objects(inner), st.lists(inner, max_size=4)),
    max_leaves=25,
)


@given(body=BODIES)
def test_nothing_of_anybodys_is_left_in_a_body(body: Any) -> None:
    assert survivors(Scrubber().body(body)) == []


@pytest.mark.parametrize("text", TEXTS)
def test_nothing_is_left_in_any_place_of_any_answer_that_is_known(text: str) -> None:
    for whole in [part for answer in KNOWN for part in (answer.body, answer.sent)]:
        filled = _filled(whole, text)
        made = Scrubber().body(filled)
        assert survivors(made) == []
        assert shape_of(made) == shape_of(filled)


def _filled(value: Any, text: str) -> Any:
    """Return the same with a true value in every place."""
    if isinstance(value, dict):
        return {name: _filled(inner, text) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(row, text) for row in value]
    if isinstance(value, bool) or value is None:
        return value
    return text if isinstance(value, str) else 4815162342


HEADERS = (
    "Content-Type", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Www-Authenticate", "Allow", "Set-Cookie",
    "X-Klaviyo-Req-Id", "X-Klaviyo-Api-Retirement-Date", "X-Klaviyo-Quokka", "X-Quokka", "Location", "Link", "Quokka", "CF-Ray", "Sunset",
)  # fmt: skip


# A header that Klaviyo would have named, and the day that it announces.
OF_THE_SERVICE = {"x-klaviyo-quokka", "x-klaviyo-api-retirement-date"}


@pytest.mark.parametrize("text", TEXTS)
def test_nothing_is_left_of_headers_addresses_and_bodies_that_are_no_json(text: str) -> None:
    for body in (
        text.encode(errors="surrogatepass"),
        f"<html>{text}</html>".encode(errors="surrogatepass"),
        b"grant_type=quokka",
    ):
        exchange = Exchange(
            "Klaviyo", "GET", f"/api/profiles/{text}", {"filter": text, text: text},
            {"Authorization": text, "Content-Type": "application/x-www-form-urlencoded"}, body,
            Answer(200, dict.fromkeys(HEADERS, text), body),
        )  # fmt: skip
        made = recorded(exchange)
        assert made is not None
        headers = {name: value for name, value in made.headers.items() if name not in OF_THE_SERVICE}
        assert (
            survivors([headers, made.path, made.parameters, made.body, made.text, made.sent, made.case]) == []
        )


def test_a_form_is_kept_field_by_field() -> None:
    body = {"grant_type": "refresh_token", "refresh_token": "quokka.secret"}
    data = b"grant_type=refresh_token&refresh_token=quokka.secret"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    made = recorded(Exchange("Klaviyo", "POST", "/oauth/token", {}, headers, data, Answer(200, {}, b"")))
    assert made is not None
    assert made.sent.keys() == body.keys()
    assert made.sent["grant_type"] == "refresh_token"


def test_no_answer_is_nothing_to_keep() -> None:
    assert recorded(Exchange("Omneo", "GET", "/api/v3/profiles", {}, {}, None, None)) is None


@pytest.mark.parametrize(
    ("true", "made"),
    [
        ("1987-06-05T04:03:02.123456+01:00", "2026-01-02T03:04:05.678901+00:00"), ("1987-06-05 04:03:02", "2026-01-02 03:04:05"),
        ("1987-06-05T04:03:02Z", "2026-01-02T03:04:05Z"), ("1987-06-05", "2026-01-02"), ("quokka@x.example", "canary-1@example.org"),
        ("+4915112345678", "+61412340001"), ("12.50", "00.01"), ("Quokka Smith", "canary canary"), ("", ""), (" ", " "),
        ("01M1PAAR5HBCRHA3NN9NG5WRTA", "0A0A0A0A0A0A0A0A0A0A0A0A0B"), ("0191f7e2-5f7a-7c4e-9d5b-1b2c3d4e5f60", "0a0a0a0a-a0a0-0a0a-a0a0-0a0a0a0a0a0b"),
        ("https://quokka.example/*****", "https://example.org/*****"), (1_790_000_000, 1_767_323_045), (-417, -111), (9.75, 12.5), (0, 0),
    ],
)  # fmt: skip
def test_a_made_up_value_has_the_form_of_the_true_one(true: object, made: object) -> None:
    assert Scrubber().body({"name": true}) == {"name": made}


def test_an_id_tells_nothing_of_the_true_one_but_its_length_and_alphabet() -> None:
    made = {Scrubber().body({"id": id})["id"] for id in ("01QUOKKA", "QUOKKA01", "0Q1U2O3K", "4815162A")}
    assert len(made) == 1
    assert [Scrubber().body({"id": id})["id"] for id in ("VRgFBd", "417", "a-1")] == ["AaAaAb", "001", "0-1"]


def test_the_same_value_is_the_same_made_up_one_and_another_another() -> None:
    made = Scrubber().body([{"id": "01QUOKKA"}, {"id": "02QUOKKA"}, {"profile_id": "01QUOKKA"}])
    assert made[0]["id"] == made[2]["profile_id"] != made[1]["id"]


def test_what_the_makers_of_the_services_wrote_stays() -> None:
    errors = {
        "errors": [
            {
                "id": "0191f7e2-5f7a-7c4e-9d5b-1b2c3d4e5f60",
                "status": 409,
                "code": "duplicate_profile",
                "title": "Conflict.",
                "detail": "A profile already exists with one of these identifiers.",
                "source": {"pointer": "/data/attributes"},
                "links": {},
                "meta": {"duplicate_profile_id": "01QUOKKA"},
            }
        ]
    }
    (made,) = Scrubber().body(errors)["errors"]
    (true,) = errors["errors"]
    for name in ("status", "code", "title", "detail", "source", "links"):
        assert made[name] == true[name]
    topic = {"type": "webhook-topic", "id": "event:klaviyo.bounced_email", "attributes": {}}
    assert Scrubber().body(topic) == topic
    missing = {"message": "No query results for model [App\\Models\\Profile]."}
    assert Scrubber().body(missing) == missing
