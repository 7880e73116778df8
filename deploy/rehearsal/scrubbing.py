"""Answers and requests without personal or secret values: a made-up value of the same form replaces every value. Pure.

Only the services' own words stay (words.py): names of fields, types, codes, words of enumerations.
"""

import re
from collections.abc import Mapping
from typing import Any

from deploy.rehearsal.made_up import CANARY, MadeUp
from deploy.rehearsal.shapes import is_free
from deploy.rehearsal.words import is_field, is_parameter, is_sentence, is_word, place, sentence

_SECRETS = frozenset(
    {"token", "access_token", "refresh_token", "secret_key", "client_secret", "code_verifier", "code"}
)
_PLACES = frozenset({"pointer", "parameter"})
# Values that must be from a list that is not the services' own.
_FIXED = {
    "timezone": "Australia/Melbourne",
    "preferred_currency": "AUD",
    "currency": "AUD",
    "value_currency": "AUD",
    "locale": "en-AU",
    "country": "Australia",
}
# Which page this is, and how long. How many there are is the merchant's.
_PAGING = frozenset({"current_page", "per_page"})
_SMALL = range(1001)
_JSON = r"application/(?:vnd\.api\+)?json|text/(?:html|plain)"
# Headers that say something of the API, each with the form in which its value stays. All others are the transport's.
_HEADERS = {
    "content-type": re.compile(rf"(?:{_JSON})(?:; ?charset=utf-8)?", re.IGNORECASE),
    "retry-after": re.compile(r"\d{1,5}", re.ASCII),
    "ratelimit-limit": re.compile(r"\d{1,5}(?:;w=\d{1,5})?(?:, ?\d{1,5}(?:;w=\d{1,5})?){0,4}", re.ASCII),
    "ratelimit-remaining": re.compile(r"\d{1,6}", re.ASCII),
    "ratelimit-reset": re.compile(r"\d{1,6}", re.ASCII),
    "x-ratelimit-limit": re.compile(r"\d{1,6}", re.ASCII),
    "x-ratelimit-remaining": re.compile(r"\d{1,6}", re.ASCII),
    "www-authenticate": re.compile("Bearer(?:, Klaviyo-API-Key)?"),
    "x-klaviyo-api-retirement-date": re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\dZ)?", re.ASCII),
    "allow": re.compile("(?:(?:GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)(?:, ?)?)+"),
}
_OF_THE_API = re.compile(
    "|".join([*map(re.escape, _HEADERS), "x-klaviyo-[a-z-]{1,40}", "deprecation", "sunset"])
)


class Scrubber:
    """Scrubs one exchange: the same value becomes the same made-up value everywhere."""

    def __init__(self) -> None:
        self._made_up = MadeUp()

    def body(self, value: Any) -> Any:
        """Return a JSON value of the same form."""
        return self._value(value, "", {})

    def text(self, text: bytes) -> str:
        """Return a text that only names the kind of a body that is not JSON."""
        return f"<html>{CANARY}</html>" if text.lstrip().startswith(b"<") else CANARY

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers that say something of the API, by their names in small letters."""
        small = {name.lower(): value for name, value in headers.items()}
        return {
            name: self._header(name, small[name]) for name in sorted(small) if _OF_THE_API.fullmatch(name)
        }

    def parameters(self, names: Mapping[str, str]) -> tuple[str, ...]:
        """Return the names of a query's parameters, in the order of the alphabet."""
        return tuple(sorted(name if is_parameter(name) else CANARY for name in names))

    def _header(self, name: str, value: str) -> str:
        form = _HEADERS.get(name)
        return value if form is not None and form.fullmatch(value) else self._made_up.text(value)

    def _value(self, value: Any, name: str, holder: Mapping[str, Any]) -> Any:
        if is_free(name, holder):
            return self._own(value)
        if isinstance(value, Mapping):
            if name == "errors":  # Omneo's: the faults, by field
                return {self._field(field): _sentences(said) for field, said in value.items()}
            return {self._field(field): self._value(inner, field, value) for field, inner in value.items()}
        if isinstance(value, list):
            return [self._value(row, "" if isinstance(row, Mapping) else name, holder) for row in value]
        if isinstance(value, str):
            return self._text(value, name, holder)
        is_said = name in _PAGING or (name == "status" and "code" in holder)
        return value if is_said and value in _SMALL else self._made_up.count(value)

    def _own(self, value: Any) -> Any:
        """Return a customer's or a merchant's own, names and all."""
        if isinstance(value, Mapping):
            return {
                f"{CANARY}_{self._made_up.number(name)}": self._own(inner) for name, inner in value.items()
            }
        if isinstance(value, list):
            return [self._own(row) for row in value]
        return self._made_up.text(value) if isinstance(value, str) else self._made_up.count(value)

    def _field(self, name: str) -> str:
        return name if is_field(name) else f"{CANARY}_{self._made_up.number(name)}"

    def _text(self, text: str, name: str, holder: Mapping[str, Any]) -> str:
        if not text or is_word(text, name, holder):
            return text
        if is_sentence(name, holder):
            return sentence(text)
        if name in _PLACES:
            return place(text)
        if name in _SECRETS:
            return self._made_up.secret(text)
        if name in _FIXED:
            return _FIXED[name]
        is_id = (name == "id" or name.endswith("_id")) and re.fullmatch(r"[\w=+/.:-]+", text, re.ASCII)
        return self._made_up.id(text) if is_id else self._made_up.text(text)


def _sentences(said: Any) -> Any:
    """Return Omneo's sentences about a field."""
    if isinstance(said, list):
        return [_sentences(row) for row in said]
    return sentence(said) if isinstance(said, str) else None
