"""The filters that write a text for HTML, JavaScript or a URL."""

import html
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from deploy.local.sandbox.omneo.twig.filters.arguments import Filter
from deploy.local.sandbox.omneo.twig.php import Array, Value, text
from deploy.local.sandbox.omneo.twig.refusals import Refusal
from deploy.local.sandbox.omneo.twig.scope import Scope


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


ESCAPING_FILTERS: Mapping[str, Filter] = {
    "e": _escape,
    "escape": _escape,
    "url_encode": _url_encode,
}
