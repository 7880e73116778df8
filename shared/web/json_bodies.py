"""Reads JSON of other parties: strictly where a guess would do harm later, and only up to a size that we can hold. Pure."""

import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from shared.errors import InvalidPayloadError, UnsupportedMediaTypeError

T = TypeVar("T")

DEEPEST = 32  # levels; Klaviyo takes ten
LONGEST_NUMBER = 40  # digits
# In memory, a value takes up to a hundred times its bytes, and each letter takes four bytes if one letter of the body needs them: three
# bodies of 25 MB at once must fit a function of 1 GiB. Klaviyo's largest deliveries, of a thousand events, hold a hundred thousand values.
MOST_VALUES = 400_000
MOST_OBJECTS = 150_000  # and lists

# Within a string only the three that people type are accepted: a name from an address book may hold a line break.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', re.DOTALL)
_NAME_OR_BRACKET = re.compile(
    r'(?P<name>"(?:[^"\\]|\\.)*")(?=\s*:)|"(?:[^"\\]|\\.)*"|(?P<opens>[\[{])|(?P<closes>[\]}])', re.DOTALL
)
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_STRING_OR_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|(NaN|-?Infinity|-?\d[\d.eE+-]*)', re.DOTALL)

_GAP = "An empty template value may have left a gap or a comma too many, or a value may hold a quotation mark or a backslash that is not escaped."
_NUMBER = (
    f"A number is not valid there: NaN and Infinity are no numbers, and {LONGEST_NUMBER} digits are the most."
)
_TWICE = "A name stands there for the second time in one object, with another value: it is unclear which value counts."
_CONTROL_THERE = "A control character stands there, which is no text."
_ENCODING = "The text there has another encoding, or is no text."


def parse_json(content_type: str, body: bytes, *, lenient: bool = False) -> Any:
    """Return the value of a body. A line break or a tab within a string is accepted, although JSON would escape it. Half a surrogate pair,
    as of an emoji that was cut, becomes U+FFFD. An escaped NUL is left out.

    `lenient` is for a body of many things of which we keep little, so that one odd value must not spoil the rest: a number out of range
    becomes None, the last value of a repeated name counts, and half a surrogate pair and any depth that the parser can read are accepted.

    Raises:
        UnsupportedMediaTypeError: the content type is not JSON.
        InvalidPayloadError: the body is not JSON, or holds a value that would do harm. The message says where.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaTypeError("Send Content-Type: application/json.")
    _check_values(body)
    try:
        value = _parsed(body, lenient=lenient)
    except json.JSONDecodeError as error:
        hint = error.msg if error.msg in (_NUMBER, _ENCODING, _CONTROL_THERE, _TWICE) else _GAP
        what = (
            "The JSON of the body is not clear" if hint is _TWICE else "The body is not valid JSON in UTF-8"
        )
        raise InvalidPayloadError(
            f"{what}: look at line {error.lineno}, column {error.colno}. {hint}"
        ) from None
    except RecursionError:
        deep = "The body is not valid JSON, or is nested deeper than can be read."
        raise InvalidPayloadError(deep if lenient else _too_deep(body)) from None
    if not lenient and not _is_shallow(value, DEEPEST):
        raise InvalidPayloadError(_too_deep(body))
    return value


def _too_deep(body: bytes) -> str:
    """Return the message for a body that is nested too deep, with the place of the first bracket that is too deep."""
    text, depth, place = body.decode().removeprefix("\ufeff"), 0, 0
    for found in _STRING_OR_BRACKET.finditer(text):
        depth += bool(found[1]) - bool(found[2])
        if depth > DEEPEST:
            place = found.start()
            break
    where = json.JSONDecodeError("", text, place)
    return f"The body is nested more than {DEEPEST} levels deep: look at line {where.lineno}, column {where.colno}."


def _parsed(body: bytes, *, lenient: bool) -> Any:
    # As text: from bytes, the parser would accept other encodings too, and half a surrogate pair, which is no text.
    try:
        text = body.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _fault_after(body[: error.start], _ENCODING) from None
    if control := _CONTROL.search(body):
        raise _fault_after(body[: control.start()], _CONTROL_THERE)
    if lenient:
        return json.loads(
            text,
            strict=False,
            parse_constant=lambda _: None,
            parse_float=_or_none(_float),
            parse_int=_or_none(_int),
        )
    if "\\u0000" in text:
        text = _NUL.sub(r"\1", text)
    try:
        value = json.loads(
            text,
            strict=False,
            parse_constant=_refuse_number,
            parse_float=_float,
            parse_int=_int,
            object_pairs_hook=_object,
        )
    except OverflowError:
        raise json.JSONDecodeError(_NUMBER, text, _place_of_bad_number(text)) from None
    except KeyError:
        raise json.JSONDecodeError(_TWICE, text, _place_of_second_name(text)) from None
    return _without_halves(value) if "\\ud" in text or "\\uD" in text else value


def _fault_after(before: bytes, what: str) -> json.JSONDecodeError:
    text = before.decode(errors="replace").removeprefix("\ufeff")
    return json.JSONDecodeError(what, text, len(text))


def _place_of_bad_number(text: str) -> int:
    """Return the place of the first invalid number: the parser does not tell it."""
    for found in _STRING_OR_NUMBER.finditer(text):
        try:
            _number(found[1] or "0")
        except (ValueError, OverflowError):
            return found.start()
    return 0


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of its names and values, or raise KeyError where one name has two values."""
    found = dict(pairs)
    if len(found) < len(pairs) and any(_differ(value, found[name]) for name, value in pairs):
        raise KeyError("a name stands there twice")
    return found


def _differ(one: Any, other: Any) -> bool:
    return one is not other and json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True)


def _place_of_second_name(text: str) -> int:
    """Return the place of the first repeated name: the parser does not tell it."""
    names: list[set[str]] = []  # the names of each open object; None for a list
    for found in _NAME_OR_BRACKET.finditer(text):
        if found["opens"]:
            names.append(set())
        elif found["closes"]:
            names.pop()
        elif found["name"]:
            name = json.loads(found["name"], strict=False)
            if name in names[-1]:
                return found.start()
            names[-1].add(name)
    return 0


def _without_halves(value: Any) -> Any:
    """Return a JSON value with U+FFFD for each half of a surrogate pair, which is no text and cannot be sent."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    return value


def _check_values(body: bytes) -> None:
    """Refuse a body that would take much more memory than its bytes. It counts before the parser reads, and so it counts commas in texts
    too.
    """
    objects = body.count(b"{") + body.count(b"[")
    if objects > MOST_OBJECTS or objects + body.count(b",") > MOST_VALUES:
        raise InvalidPayloadError(
            f"The body may hold at most {MOST_VALUES:,} values, {MOST_OBJECTS:,} of them objects and lists. Send it in parts."
        )


def _refuse_number(text: str) -> float:
    raise OverflowError(text)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise OverflowError("a number is out of range")
    return number


def _int(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise OverflowError("a number is out of range")
    return int(text)


def _number(text: str) -> int | float:
    return _int(text) if text.removeprefix("-").isdigit() else _float(text)


def _or_none(convert: Callable[[str], T]) -> Callable[[str], T | None]:
    def converted(text: str) -> T | None:
        try:
            return convert(text)
        except OverflowError:
            return None

    return converted


def _is_shallow(value: object, levels: int) -> bool:
    # Level by level: a delivery of a thousand events holds tens of thousands of values.
    nested = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        nested = [child for parent in nested for child in _children(parent) if isinstance(child, dict | list)]
    return not nested


def _children(parent: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return parent.values() if isinstance(parent, dict) else parent
