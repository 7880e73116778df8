"""JSON from strangers: what is taken, what is refused, and that nothing makes the reader fail."""

import json
import sys
import time
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidPayloadError, UnsupportedMediaTypeError
from shared.web.json_bodies import DEEPEST, LONGEST_NUMBER, parse_json

JSON = "application/json"


def nested(levels: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * levels + closing * levels).encode()


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=x",
        " application/json ",
        "application/vnd.api+json",
        "application/problem+json; a=b",
    ],
)
def test_every_way_to_say_json_is_understood(content_type: str) -> None:
    assert parse_json(content_type, b'{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "text/json", "application/jsonp", "application/x-www-form-urlencoded", "json", ";"],
)
def test_a_body_that_is_not_said_to_be_json_is_refused_before_it_is_read(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError, match="Content-Type: application/json"):
        parse_json(content_type, b'{"a": 1}')


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"null", None),
        (b"true", True),
        (b' "x" ', "x"),
        (b"[1, 2.5, -0]", [1, 2.5, 0]),
        (b"\xef\xbb\xbf{}", {}),
        ('{"ü": "東京"}'.encode(), {"ü": "東京"}),
        (rb'"\ud83c\udf81"', "🎁"),
        (rb'"\\ud800"', "\\ud800"),
        (b'{"a": [1, {}], "a": [1, {}]}', {"a": [1, {}]}),
        (b"9" * LONGEST_NUMBER, int("9" * LONGEST_NUMBER)),
        (b"1e308", 1e308),
        (b"1e-999", 0.0),
    ],
    ids=range(12),
)
def test_what_is_json_comes_out_as_it_is(body: bytes, value: Any) -> None:
    assert parse_json(JSON, body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"canary": }',
        b"{'a': 1}",
        b'{"a": 1,}',
        b"[1] [2]",
        b"NaN",
        b"[Infinity]",
        b'{"a": -Infinity}',
        b"1e999",
        b"-1e400",
        b"9" * (LONGEST_NUMBER + 1),
        b"9" * 100_000,
        b'"\x00"',
        b"\xff",
        b'"canary\xe9"',
        b'"\xed\xa0\x80"',
        '{"a": 1}'.encode("utf-16"),
        '"\\ud800"'.encode("utf-32"),
        nested(100_000),
        nested(100_000, '{"a":', "}"),
        nested(100_000)[:100_000],
        rb'["\ud83c\udf81",' + nested(90_000) + b"]",
    ],
    ids=range(24),
)
def test_what_is_no_json_is_refused_and_not_repeated(body: bytes) -> None:
    with pytest.raises(
        InvalidPayloadError, match=r"not valid JSON in UTF-8: look at line \d+, column \d+\.|levels deep"
    ) as caught:
        parse_json(JSON, body)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "line", "column", "hint"),
    [
        (b'{"a": NaN}', 1, 7, "NaN and Infinity are no numbers"),
        (b'{"a": "NaN 1e999",\n "b": -Infinity}', 2, 7, "NaN and Infinity are no numbers"),
        (b'{"a": "\\"1e999", "b": 1e999}', 1, 23, "40 digits"),
        (b"[1,\n\n" + b"9" * 41 + b"]", 3, 1, "40 digits"),
        (b"[-" + b"9" * 40 + b"]", 1, 2, "40 digits"),
        (b'{"a": "x",\n"b": "Jos\xe9"}', 2, 10, "another encoding"),
        (b'\xef\xbb\xbf{"a": "\xc3\xa9\xe9"}', 1, 9, "another encoding"),
        ('{"a": 1}'.encode("utf-16"), 1, 1, "another encoding"),
        (b'{"a": "b\x0bc"}', 1, 9, "control character"),
        (b'{"a": 1,}', 1, 8, "empty template value"),
        (b'{"a": 1,\n "a": 2}', 2, 2, "second time"),
        (b'{"a": 1, "a": true}', 1, 10, "second time"),
        (b'{"b": ["}", {"c": "d\\":", "c": 2}], "e": 1}', 1, 27, "second time"),
        (b'{"ab": {"b": 1}, "b": 2, "a\\u0062": 3}', 1, 26, "second time"),
    ],
)
def test_what_is_refused_says_where_it_stands(body: bytes, line: int, column: int, hint: str) -> None:
    with pytest.raises(InvalidPayloadError, match=f"line {line}, column {column}\\..*{hint}"):
        parse_json(JSON, body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (rb'"\ud800"', "\ufffd"),
        (rb'{"\uDFFF": ["a\ud83d", "\udc00b"]}', {"\ufffd": ["a\ufffd", "\ufffdb"]}),
        (rb'["\ud83c\udf81", "\ud83c", "\\ud83c"]', ["\U0001f381", "\ufffd", "\\ud83c"]),
    ],
)
def test_half_an_emoji_costs_no_event(body: bytes, value: object) -> None:
    assert parse_json(JSON, body) == value


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (rb'"a\u0000b"', "ab"),
        (
            rb'{"a\u0000": ["\u0000", "\\u0000", "\\\u0000", "x\\\u0000y"]}',
            {"a": ["", "\\u0000", "\\", "x\\y"]},
        ),
        (rb'"\u0000\u0000\u00000"', "0"),
    ],
)
def test_a_nul_that_is_escaped_is_left_out(body: bytes, value: object) -> None:
    assert parse_json(JSON, body) == value


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth_has_a_limit_that_is_exact(opening: str, closing: str) -> None:
    innermost = b"[]" if opening == "[" else b"{}"
    deepest = (opening * (DEEPEST - 1)).encode() + innermost + (closing * (DEEPEST - 1)).encode()
    assert parse_json(JSON, deepest) == json.loads(deepest)
    with pytest.raises(InvalidPayloadError, match=f"more than {DEEPEST} levels"):
        parse_json(JSON, opening.encode() + deepest + closing.encode())


@pytest.mark.parametrize("beyond", ["[]", '{"canary": 1}', "[" * 90_000])
def test_what_is_nested_too_deep_is_refused_with_the_place_of_the_first_bracket_that_is(beyond: str) -> None:
    first, second = '{"[[[": "}]\\"{",\n', ' "b": [[]], "c": ' + "[" * (DEEPEST - 1)
    end = "" if beyond.startswith("[[") else "]" * (DEEPEST - 1) + "}"
    place = f"look at line 2, column {len(second) + 1}"
    with pytest.raises(InvalidPayloadError, match=rf"nested more than {DEEPEST} levels deep: {place}\.$"):
        parse_json(JSON, (first + second + beyond + end).encode())


def test_a_scalar_at_the_last_level_is_not_a_level() -> None:
    body = b"[" * DEEPEST + b"1" + b"]" * DEEPEST
    assert parse_json(JSON, body) == json.loads(body)


@given(st.binary(max_size=60))
def test_no_bytes_make_the_reader_fail(body: bytes) -> None:
    try:
        value = parse_json(JSON, body)
    except InvalidPayloadError:
        return
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=10,
    ),
    st.booleans(),
)
def test_every_value_survives_the_way(value: Any, escaped: bool) -> None:
    assert parse_json(JSON, json.dumps(value, ensure_ascii=escaped).encode()) == value


def test_a_large_body_is_read_in_moments() -> None:
    limit = sys.getrecursionlimit()
    began = time.process_time()
    assert len(parse_json(JSON, b"[" + b"{}," * 140_000 + b"{}]")) == 140_001
    assert time.process_time() - began < 5
    assert sys.getrecursionlimit() == limit


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("typed", ["\n", "\t", "\r\n", "a\n\tb"])
def test_a_line_break_or_tab_within_a_string_is_taken_as_it_was_typed(typed: str, lenient: bool) -> None:
    body = f'{{"first_name": "Jane{typed}Doe",\n\t"n": 1}}'.encode()
    assert parse_json(JSON, body, lenient=lenient) == {"first_name": f"Jane{typed}Doe", "n": 1}


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"canary": }', "line 1, column 12"),
        (b'{\n  "a": 1,\n  "b": "Jane "canary" Doe"\n}', "line 3, column 15"),
        (b'{\n  "a": "x\ny",\n  "b": }', "line 4, column 8"),
        (b'{"a": "canary\x00"}', "line 1, column 14"),
        (b'\xef\xbb\xbf{"a": "\xc3\xbc\x01"}', "line 1, column 9"),
        (rb'{"a": "it\'s"}', "line 1, column 10"),
        (b"", "line 1, column 1"),
    ],
    ids=range(7),
)
def test_what_could_be_meant_in_two_ways_is_refused_with_its_line_and_place(
    body: bytes, place: str, lenient: bool
) -> None:
    with pytest.raises(InvalidPayloadError, match=place) as refused:
        parse_json(JSON, body, lenient=lenient)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize(
    "body",
    [
        b"[" + b",".join([b"{}"] * 1_000_000) + b"]",
        b'{"data": [' + b",".join([b"{}                    "] * 1_000_000) + b"]}",
        b"[" + b"1," * 1_100_000 + b"1]",
        b"[" + b"[]," * 500_000 + b"[]]",
    ],
    ids=["objects", "24 MB", "numbers", "lists"],
)
def test_a_body_of_more_values_than_memory_bears_is_refused_before_it_is_read(
    body: bytes, lenient: bool
) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidPayloadError, match="at most"):
            parse_json(JSON, body, lenient=lenient)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_delivery_of_a_thousand_rich_events_is_taken() -> None:
    properties = {f"property {number}": {"nested": [number, "a, b, c"]} for number in range(60)}
    body = json.dumps({"data": [{"id": str(number), **properties} for number in range(1000)]}).encode()
    assert len(parse_json(JSON, body, lenient=True)["data"]) == 1000


class TestLeniently:
    def test_a_number_out_of_range_is_none_and_the_rest_stays(self) -> None:
        body = b'{"a": NaN, "b": [-Infinity, 1e999, 1.5], "c": ' + b"9" * (LONGEST_NUMBER + 1) + b', "d": 7}'
        value = parse_json(JSON, body, lenient=True)
        assert value == {"a": None, "b": [None, None, 1.5], "c": None, "d": 7}

    def test_half_a_surrogate_pair_and_depth_are_taken(self) -> None:
        assert parse_json(JSON, b'["\\ud83d"]', lenient=True) == ["\ud83d"]
        deep = b"[" * (DEEPEST * 3) + b"]" * (DEEPEST * 3)
        assert parse_json(JSON, deep, lenient=True) == json.loads(deep)

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"nan", b"[" * 100_000, b"{'a': 1}", b"[1,]"])
    def test_what_is_no_json_is_refused_all_the_same(self, body: bytes) -> None:
        with pytest.raises(InvalidPayloadError, match="not valid JSON"):
            parse_json(JSON, body, lenient=True)
        with pytest.raises(UnsupportedMediaTypeError):
            parse_json("text/plain", b"{}", lenient=True)

    @given(st.binary(max_size=60))
    def test_no_bytes_make_the_reader_fail(self, body: bytes) -> None:
        with suppress(InvalidPayloadError):
            parse_json(JSON, body, lenient=True)
