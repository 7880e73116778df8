"""Twig's filters, each by the names that Twig gives it and its arguments. None looks at anything but what it is handed.

A filter is called with the scope, the value and its arguments, and raises `Refusal` where PHP would fail, or where it is not sure to do as
PHP does.
"""

import html
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cmp_to_key
from itertools import islice
from typing import Any
from urllib.parse import quote

from deploy.local.sandbox.omneo.twig.dates import modified, php_date, read_moment, zone_named
from deploy.local.sandbox.omneo.twig.numbers import number_format, round_half_up
from deploy.local.sandbox.omneo.twig.php import (
    Array,
    Arrow,
    Key,
    Value,
    array,
    cast,
    compare,
    float_text,
    is_empty,
    is_list,
    is_true,
    key,
    number,
    text,
    whole,
)
from deploy.local.sandbox.omneo.twig.refusals import Refusal
from deploy.local.sandbox.omneo.twig.scope import Scope

Filter = Callable[..., Value]
_BLANKS = " \t\n\r\0\v"
# PHP's constants of json_encode.
JSON_CONSTANTS: Mapping[str, int] = {
    "JSON_HEX_TAG": 1,
    "JSON_HEX_AMP": 2,
    "JSON_HEX_APOS": 4,
    "JSON_HEX_QUOT": 8,
    "JSON_FORCE_OBJECT": 16,
    "JSON_UNESCAPED_SLASHES": 64,
    "JSON_PRETTY_PRINT": 128,
    "JSON_UNESCAPED_UNICODE": 256,
    "JSON_PRESERVE_ZERO_FRACTION": 1024,
}


def string(value: Value) -> str:
    """Return a value as a function of PHP takes it that wants text.

    Raises:
        Refusal: an array is none.
    """
    if isinstance(value, dict):
        raise Refusal("An array is no text; |join or |json_encode makes one of it.")
    return text(value)


def items_of(value: Value, name: str) -> Array:
    """Return an array.

    Raises:
        Refusal: it is none.
    """
    if isinstance(value, dict):
        return value
    raise Refusal(f"{name} takes an array.")


def arrow(value: Value, name: str) -> Callable[..., Value]:
    """Return what to call.

    Raises:
        Refusal: it is no function that the template itself writes.
    """
    if isinstance(value, Arrow):
        return value.call
    raise Refusal(f"{name} takes a function, as in |{name}(one => one.name).")


# Text


def _upper(scope: Scope, string_: Value) -> Value:
    return string(string_).upper()


def _lower(scope: Scope, string_: Value) -> Value:
    return _lowered(string(string_))


def _lowered(given: str) -> str:
    if "\u03a3" in given or "\u0130" in given:
        raise Refusal("Letters that become small by their place in the word are not known here.")
    return given.lower()


def _capitalize(scope: Scope, string_: Value) -> Value:
    given = string(string_)
    return given[:1].upper() + _lowered(given[1:])


def _title(scope: Scope, string_: Value) -> Value:
    given = string(string_)
    if not given.isascii():
        raise Refusal("|title of letters beyond ASCII is not known here.")
    return re.sub(r"[A-Za-z][A-Za-z'.:^`]*", lambda word: word[0][:1].upper() + word[0][1:].lower(), given)


def _trim(scope: Scope, string_: Value, character_mask: Value = None, side: Value = "both") -> Value:
    given, mask = string(string_), _BLANKS if character_mask is None else string(character_mask)
    if ".." in mask or not mask.isascii():
        raise Refusal("trim takes plain letters here, without a range.")
    match side:
        case "both":
            return given.strip(mask) if mask else given
        case "left":
            return given.lstrip(mask) if mask else given
        case "right":
            return given.rstrip(mask) if mask else given
        case _:
            raise Refusal('The side of trim is "left", "right" or "both".')


def _replace(scope: Scope, str_: Value, from_: Value) -> Value:
    given, pairs = (
        string(str_),
        {text(name): string(value) for name, value in items_of(from_, "replace").items()},
    )
    pairs.pop("", None)
    if not pairs:
        return given
    scope.budget.take(len(given) * len(pairs) // 50)
    longest_first = sorted(pairs, key=lambda name: (-len(name.encode()), name))
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    # The room is made before the text is.
    scope.budget.take(len(given) + sum(len(pairs[match[0]]) for match in pattern.finditer(given)))
    return pattern.sub(lambda match: pairs[match[0]], given)


def _format(scope: Scope, format: Value, *values: Value) -> Value:
    written, left = string(format), iter(values)

    def one(found: re.Match[str]) -> str:
        if found["kind"] == "%":
            return "%"
        try:
            return _formatted(found, next(left))
        except StopIteration:
            raise Refusal("format has fewer values than its text asks for.") from None

    directive = r"%(?P<plus>\+)?(?P<pad>0|'.)?(?P<left>-)?(?P<width>\d{1,3})?(?:\.(?P<places>\d{1,2}))?(?P<kind>[%sdfFuxXobc])"
    if re.sub(directive, "", written).count("%"):
        raise Refusal(
            "format knows %s, %d, %f, %u, %x, %X, %o, %b and %c here, each with a width of up to three digits."
        )
    return re.sub(directive, one, written)


def _formatted(found: re.Match[str], value: Value) -> str:
    kind, pad = found["kind"], (found["pad"] or " ")[-1]
    if kind == "s":
        written = string(value)
        if found["places"] is not None:
            written = written[: int(found["places"])]
    elif kind in "fF":
        places = int(found["places"] or 6)
        written = f"{cast(value):.{places}f}"
    elif kind == "c":
        raise Refusal("format knows no %c here.")
    else:
        written = _whole_formatted(kind, int(cast(value)))
    if found["plus"] and kind in "dfF" and not written.startswith("-"):
        written = f"+{written}"
    return _padded(written, int(found["width"] or 0), pad, bool(found["left"]))


def _whole_formatted(kind: str, value: int) -> str:
    if kind == "d":
        return str(value)
    return f"{value % 2**64:{'d' if kind == 'u' else kind}}"


def _padded(written: str, width: int, pad: str, to_the_left: bool) -> str:
    missing = pad * max(0, width - len(written.encode()))
    if to_the_left:
        if pad == "0":
            raise Refusal("format does not fill up with zeros on the right here.")
        return written + missing
    is_signed = pad == "0" and written[:1] in ("+", "-")
    return written[0] + missing + written[1:] if is_signed else missing + written


def _escape(
    scope: Scope, string_: Value, strategy: Value = "html", charset: Value = None, autoescape: Value = False
) -> Value:
    if strategy not in ("html", "js", "url"):
        raise Refusal('escape knows "html", "js" and "url" here.')
    if not isinstance(string_, str):
        return string_
    given = string_
    match strategy:
        case "html":
            return html.escape(given).replace("&#x27;", "&#039;")
        case "url":
            return quote(given, safe="-_.~")
        case _:
            return re.sub(r"[^a-zA-Z0-9,._]", _escaped_for_js, given)


def _escaped_for_js(found: re.Match[str]) -> str:
    letter = found[0]
    short = {"\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    if letter in short:
        return short[letter]
    units = letter.encode("utf-16-be").hex().upper()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))


def _url_encode(scope: Scope, url: Value) -> Value:
    if isinstance(url, dict):
        return "&".join(_query(url, ""))
    return quote(text(url), safe="-_.~")


def _query(items: Array, below: str) -> Iterator[str]:
    for name, item in items.items():
        written = quote(str(name), safe="-_.~")
        full = f"{below}%5B{written}%5D" if below else written
        if isinstance(item, dict):
            yield from _query(item, full)
        elif item is not None:
            yield f"{full}={quote('0' if item is False else text(item), safe='-_.~')}"


def _json_encode(scope: Scope, value: Value, flags: Value = 0, depth: Value = 512) -> Value:
    bits = whole(flags)
    known = sum(JSON_CONSTANTS.values())
    if bits & ~known:
        raise Refusal("json_encode does not know this option here.")
    written = _Json(bits).written(value, 0)
    scope.budget.take(len(written))
    return written


class _Json:
    """PHP's json_encode with these options."""

    def __init__(self, bits: int) -> None:
        self._has = {name: bool(bits & bit) for name, bit in JSON_CONSTANTS.items()}

    def written(self, value: Value, depth: int) -> str:
        match value:
            case None | bool():
                return json.dumps(value)
            case int():
                return str(value)
            case float():
                return self._float(value)
            case str():
                return self._string(value)
            case dict():
                return self._items(value, depth + 1)
            case _:
                raise Refusal("A date or a function is not written as JSON here.")

    def _float(self, value: float) -> str:
        written = float_text(value, None, "e")
        if "N" in written:
            raise Refusal("JSON has no such number.")
        is_whole = self._has["JSON_PRESERVE_ZERO_FRACTION"] and written.lstrip("-").isdecimal()
        return f"{written}.0" if is_whole else written

    def _string(self, value: str) -> str:
        written = json.dumps(value, ensure_ascii=not self._has["JSON_UNESCAPED_UNICODE"]).replace(
            "\x7f", "\x7f"
        )
        written = written.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
        pairs = (
            ("JSON_HEX_TAG", "<", "\\u003C"),
            ("JSON_HEX_TAG", ">", "\\u003E"),
            ("JSON_HEX_AMP", "&", "\\u0026"),
            ("JSON_HEX_APOS", "'", "\\u0027"),
            ("JSON_HEX_QUOT", '\\"', "\\u0022"),
        )
        for name, plain, escaped in pairs:
            if self._has[name]:
                written = written.replace(plain, escaped)
        return written if self._has["JSON_UNESCAPED_SLASHES"] else written.replace("/", "\\/")

    def _items(self, items: Array, depth: int) -> str:
        as_list = is_list(items) and not self._has["JSON_FORCE_OBJECT"]
        opened, closed = "[]" if as_list else "{}"
        pretty = self._has["JSON_PRETTY_PRINT"]
        colon = ": " if pretty else ":"
        parts = [
            self.written(item, depth)
            if as_list
            else f"{self._string(str(name))}{colon}{self.written(item, depth)}"
            for name, item in items.items()
        ]
        if not pretty or not parts:
            return opened + ",".join(parts) + closed
        inner = ",\n".join("    " * depth + part for part in parts)
        return f"{opened}\n{inner}\n{'    ' * (depth - 1)}{closed}"


# Numbers and dates


def _number_format(
    scope: Scope,
    number: Value,
    decimal: Value = None,
    decimal_point: Value = None,
    thousand_sep: Value = None,
) -> Value:
    return number_format(
        number,
        0 if decimal is None else whole(decimal),
        "." if decimal_point is None else string(decimal_point),
        "," if thousand_sep is None else string(thousand_sep),
    )


def _round(scope: Scope, value: Value, precision: Value = 0, method: Value = "common") -> Value:
    given, places = cast(value), whole(precision)
    if abs(places) > 50:
        raise Refusal("round takes at most 50 places.")
    if method == "common":
        return round_half_up(given, places)
    if method not in ("ceil", "floor"):
        raise Refusal('The method of round is "common", "ceil" or "floor".')
    moved = given * 10.0**places if places >= 0 else given * (10**places)
    return float(math.ceil(moved) if method == "ceil" else math.floor(moved)) / (10.0**places)


def _abs(scope: Scope, num: Value) -> Value:
    return abs(number(num))


def _date(scope: Scope, date: Value, format: Value = None, timezone: Value = None) -> Value:
    zone = (
        zone_named("UTC") if timezone is None else None if timezone is False else zone_named(string(timezone))
    )
    return php_date(read_moment(date, scope.now, zone), "F j, Y H:i" if format is None else string(format))


def _date_modify(scope: Scope, date: Value, modifier: Value) -> Value:
    return modified(read_moment(date, scope.now, None), string(modifier))


# Arrays


def _length(scope: Scope, thing: Value) -> Value:
    return len(thing) if isinstance(thing, dict) else len(text(thing))


def _join(scope: Scope, value: Value, glue: Value = "", and_: Value = None) -> Value:
    parts = (
        [text(item) for item in value.values()]
        if isinstance(value, dict)
        else []
        if value is None
        else [text(value)]
    )
    between = string(glue)
    scope.budget.take(sum(map(len, parts)) + len(between) * len(parts))
    if and_ is None or and_ == glue or len(parts) < 2:
        return between.join(parts)
    return between.join(parts[:-1]) + string(and_) + parts[-1]


def _split(scope: Scope, value: Value, delimiter: Value, limit: Value = None) -> Value:
    given, between = string(value), string(delimiter)
    scope.budget.take(items=len(given) if not between else given.count(between))
    if between:
        return array(_exploded(given, between, None if limit is None else whole(limit)))
    size = whole(limit)
    if size <= 1:
        return array(given) if given else array([""])
    if len(given) < size:
        return array([given])
    return array(given[place : place + size] for place in range(0, len(given), size))


def _exploded(given: str, between: str, limit: int | None) -> list[str]:
    if limit is None:
        return given.split(between)
    if limit < 0:
        return given.split(between)[:limit]
    return given.split(between, max(1, limit) - 1)


def _slice(
    scope: Scope, item: Value, start: Value, length: Value = None, preserve_keys: Value = False
) -> Value:
    given = item if isinstance(item, dict) else text(item)
    first, last = _bounds(len(given), whole(start), None if length is None else whole(length))
    if isinstance(given, str):
        return given[first:last]
    scope.budget.take(items=max(0, last - first))
    return _renumbered(dict(islice(given.items(), first, max(first, last))), is_true(preserve_keys))


def _bounds(size: int, start: int, length: int | None) -> tuple[int, int]:
    first = max(0, size + start) if start < 0 else min(start, size)
    if length is None:
        return first, size
    return first, max(first, size + length) if length < 0 else min(size, first + length)


def _renumbered(items: Array, preserve: bool = False) -> Array:
    """Return the items, those under numbers counted anew."""
    if preserve:
        return items
    found: Array = {}
    place = 0
    for name, item in items.items():
        if isinstance(name, int):
            found[place] = item
            place += 1
        else:
            found[name] = item
    return found


def _first(scope: Scope, item: Value) -> Value:
    if isinstance(item, dict):
        return next(iter(item.values()), False)
    return text(item)[:1]


def _last(scope: Scope, item: Value) -> Value:
    if isinstance(item, dict):
        return next(reversed(item.values()), False)
    return text(item)[-1:]


def _reverse(scope: Scope, item: Value, preserve_keys: Value = False) -> Value:
    if isinstance(item, dict):
        scope.budget.take(items=len(item))
        return _renumbered(dict(reversed(item.items())), is_true(preserve_keys))
    return text(item)[::-1]


def _keys(scope: Scope, array_: Value) -> Value:
    if not isinstance(array_, dict):
        return {}
    scope.budget.take(items=len(array_))
    return array(array_)


def _merge(scope: Scope, arr1: Value, arr2: Value) -> Value:
    one, other = items_of(arr1, "merge"), items_of(arr2, "merge")
    scope.budget.take(items=len(one) + len(other))
    found = _renumbered(one)
    place = sum(isinstance(name, int) for name in one)
    for name, item in other.items():
        if isinstance(name, int):
            found[place] = item
            place += 1
        else:
            found[name] = item
    return found


def _batch(scope: Scope, items: Value, size: Value, fill: Value = None, preserve_keys: Value = True) -> Value:
    given, width = items_of(items, "batch"), -int(-cast(size) // 1)
    if not 0 < width <= 10_000:
        raise Refusal("The size of a batch is from 1 to 10000.")
    scope.budget.take(items=len(given) + (width if fill is not None else 0))
    pairs, found = [*given.items()], []
    for place in range(0, len(pairs), width):
        part = dict(pairs[place : place + width])
        found.append(part if is_true(preserve_keys) else array(part.values()))
    while fill is not None and found and len(found[-1]) < width:
        last = found[-1]
        last[max((name for name in last if isinstance(name, int)), default=-1) + 1] = fill
    return array(found)


def _column(scope: Scope, array_: Value, name: Value, index: Value = None) -> Value:
    if index is not None:
        raise Refusal("column takes no index here.")
    rows, wanted = items_of(array_, "column"), key(name)
    scope.budget.take(items=len(rows))
    return array(row[wanted] for row in rows.values() if isinstance(row, dict) and wanted in row)


def _filter(scope: Scope, array_: Value, arrow_: Value = None) -> Value:
    given, holds = items_of(array_, "filter"), arrow(arrow_, "filter")
    scope.budget.take(items=len(given))
    return {name: item for name, item in given.items() if is_true(holds(item, name))}


def _map(scope: Scope, array_: Value, arrow_: Value) -> Value:
    given, made = items_of(array_, "map"), arrow(arrow_, "map")
    scope.budget.take(items=len(given))
    return {name: made(item, name) for name, item in given.items()}


def _reduce(scope: Scope, array_: Value, arrow_: Value, initial: Value = None) -> Value:
    carried, step = initial, arrow(arrow_, "reduce")
    for name, item in items_of(array_, "reduce").items():
        carried = step(carried, item, name)
    return carried


def _sort(scope: Scope, array_: Value, arrow_: Value = None) -> Value:
    given = items_of(array_, "sort")
    scope.budget.take(items=3 * len(given))
    if arrow_ is None:
        kinds = {str if isinstance(item, str) else float for item in given.values()}
        if len(kinds) > 1 or any(isinstance(item, dict | bool) or item is None for item in given.values()):
            raise Refusal("sort takes texts or numbers, not both, unless it is told how to compare.")
        order: Callable[[Any, Any], int] = compare
    else:
        told = arrow(arrow_, "sort")

        def order(left: Any, right: Any) -> int:
            return whole(told(left, right))

    def by_value(one: tuple[Key, Value], other: tuple[Key, Value]) -> int:
        return order(one[1], other[1])

    return dict(sorted(given.items(), key=cmp_to_key(by_value)))


def _default(scope: Scope, value: Value, default: Value = "") -> Value:
    return default if is_empty(value) else value


def _raw(scope: Scope, value: Value) -> Value:
    return value


FILTERS: Mapping[str, Filter] = {
    "abs": _abs,
    "batch": _batch,
    "capitalize": _capitalize,
    "column": _column,
    "date": _date,
    "date_modify": _date_modify,
    "default": _default,
    "e": _escape,
    "escape": _escape,
    "filter": _filter,
    "first": _first,
    "format": _format,
    "join": _join,
    "json_encode": _json_encode,
    "keys": _keys,
    "last": _last,
    "length": _length,
    "lower": _lower,
    "map": _map,
    "merge": _merge,
    "number_format": _number_format,
    "raw": _raw,
    "reduce": _reduce,
    "replace": _replace,
    "reverse": _reverse,
    "round": _round,
    "slice": _slice,
    "sort": _sort,
    "split": _split,
    "title": _title,
    "trim": _trim,
    "upper": _upper,
    "url_encode": _url_encode,
}
