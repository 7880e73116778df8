"""JSON from strangers: strict where leniency would hurt later, and never more than we can bear. Pure."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from shared.errors import InvalidPayloadError, UnsupportedMediaTypeError

T = TypeVar("T")

DEEPEST = 32  # levels; Klaviyo takes ten
LONGEST_NUMBER = 40  # digits
# A value takes up to a hundred times the bytes that it is written in, and a letter four bytes where one of the body needs them: four bodies of
# 25 MB at once must fit a function of 1 GiB. Klaviyo's largest deliveries, of a thousand events, hold a hundred thousand values.
MOST_VALUES = 400_000
MOST_OBJECTS = 150_000  # and lists

# Within a string only the three that people type are taken: a name from an address book may hold a line break.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def parse_json(content_type: str, body: bytes, *, lenient: bool = False) -> Any:
    """Return the value of a body. A line break or a tab within a string, which JSON would have escaped, is taken as it is meant.

    `lenient` is for a body of many things of which we keep little, where one odd value must not spoil the rest: a number out of range
    is None, and half a surrogate pair and any depth that the parser bears are taken.

    Raises:
        UnsupportedMediaTypeError: it is not said to be JSON.
        InvalidPayloadError: it is not JSON, or holds what would hurt us. The message says where.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaTypeError("Send Content-Type: application/json.")
    _check_values(body)
    try:
        value = _parsed(body, lenient=lenient)
    except json.JSONDecodeError as error:
        raise InvalidPayloadError(
            f"The body is not valid JSON in UTF-8: look at line {error.lineno}, column {error.colno}. An empty template value may have"
            " left a gap, or a value may hold a quotation mark or a backslash that is not escaped."
        ) from None
    except (ValueError, RecursionError):
        raise InvalidPayloadError(
            "The body is not valid JSON in UTF-8. An empty template value may have left a gap."
        ) from None
    if lenient:
        return value
    if not _is_shallow(value, DEEPEST):
        raise InvalidPayloadError(f"The body is nested more than {DEEPEST} levels deep.")
    return value


def _parsed(body: bytes, *, lenient: bool) -> Any:
    # As text: given bytes, the parser takes other encodings too, and half a surrogate pair, which is no text.
    text = body.decode("utf-8-sig")
    if control := _CONTROL.search(body):
        before = body[: control.start()].decode(errors="replace").removeprefix("\ufeff")
        raise json.JSONDecodeError("a control character", before, len(before))
    if lenient:
        return json.loads(
            text,
            strict=False,
            parse_constant=lambda _: None,
            parse_float=_or_none(_float),
            parse_int=_or_none(_int),
        )
    value = json.loads(text, strict=False, parse_constant=_refuse_number, parse_float=_float, parse_int=_int)
    if "\\ud" in text or "\\uD" in text:
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _check_values(body: bytes) -> None:
    """Refuse a body that would take much more memory than its bytes: counted before it is read, commas in texts too."""
    objects = body.count(b"{") + body.count(b"[")
    if objects > MOST_OBJECTS or objects + body.count(b",") > MOST_VALUES:
        raise InvalidPayloadError(
            f"The body may hold at most {MOST_VALUES:,} values, {MOST_OBJECTS:,} of them objects and lists. Send it in parts."
        )


def _refuse_number(text: str) -> float:
    raise ValueError("NaN and Infinity are not JSON")


def _float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is out of range")
    return number


def _int(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError("a number is out of range")
    return int(text)


def _or_none(convert: Callable[[str], T]) -> Callable[[str], T | None]:
    def converted(text: str) -> T | None:
        try:
            return convert(text)
        except ValueError:
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
