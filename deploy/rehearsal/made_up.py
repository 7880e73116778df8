"""Made-up values: each has the form of a true one, and nothing else of it. Pure.

A made-up value holds the word "canary" where its form allows, so that a test sees where it ends up.
"""

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from deploy.rehearsal.words import is_parameter
from shared.http.paths import path_template

CANARY = "canary"
MOMENT = 1_767_323_045  # 2026-01-02 03:04:05, as every made-up time is

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_PHONE = re.compile(r"\+\d{6,15}", re.ASCII)
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d(?:(?P<between>[T ])\d\d:\d\d:\d\d(?P<fraction>\.\d{1,9})?(?P<zone>Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)
# One word of letters and digits together, or of small and great letters in no order of a name.
_ID = re.compile(r"(?=\S*\d)[\w=+/.:-]+|[A-Z]{2}[A-Za-z]*|[a-zA-Z]+[a-z][A-Z][A-Za-z]*", re.ASCII)
_MASKED = re.compile(r"https://[^/]+/\*+")
_API = re.compile(r".*?((?:/id)?/api/.*)")
_SMALL_NUMBER = re.compile(r"\d{1,4}", re.ASCII)
# Alphabets without letters that are taken for digits, as ids have them; those of hexadecimal numbers and of all else.
_HEX, _PLAIN = "abcdef", "abcdefghjkmnpqrstvwxyz"
_LINK_WORDS = frozenset(
    {
        "relationships",
        "related",
        "segments",
        "push-tokens",
        "conversations",
        "tags",
        "flow-triggers",
        "lists",
        "profiles",
    }
)


class MadeUp:
    """Makes values up. The same value is the same made-up one for as long as this lives, so that links lead where they did."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def text(self, text: str) -> str:
        """Return a text of the same form."""
        if text.startswith(("https://", "http://")):
            return self._url(text)
        if _EMAIL.fullmatch(text):
            return f"{CANARY}-{self.number(text)}@example.org"
        if _PHONE.fullmatch(text):
            return f"+6141234{self.number(text) % 10_000:04}"
        if (time := _TIME.fullmatch(text)) is not None:
            return _time(time)
        if _NUMBER.fullmatch(text) or _ID.fullmatch(text):
            return self.id(text)
        return " ".join(CANARY for _ in text.split()) or text

    def id(self, text: str) -> str:
        """Return an id of the same alphabet and length; where it has digits and where letters says nothing of the true one."""
        alphabets, left, made = _alphabets(text), self.number(text), list[str]()
        for place, sign in reversed([*enumerate(text)]):
            if not sign.isalnum():
                made.append(sign)
                continue
            letters = alphabets[place % len(alphabets)]
            left, index = divmod(left, len(letters))
            made.append(letters[index])
        return "".join(reversed(made))

    def secret(self, text: str) -> str:
        """Return a secret of the same number of parts, of which the first is of about the same length."""
        first, *others = text.split(".")
        return ".".join([CANARY.ljust(len(first), "x"), *(CANARY for _ in others)])

    def count(self, value: Any) -> Any:
        """Return a number of the same sign and number of digits; a truth, a null and zero stay."""
        if isinstance(value, bool) or value in (None, 0):
            return value
        if isinstance(value, float):
            return 12.5 if value > 0 else -12.5
        if 1_000_000_000 <= value < 10_000_000_000:
            return MOMENT  # seconds since 1970
        made = int("1" * min(len(str(abs(value))), 15))
        return made if value > 0 else -made

    def number(self, text: str) -> int:
        """Return the number of a text among all that were seen, from 1."""
        return self._numbers.setdefault(text, len(self._numbers) + 1)

    def _url(self, text: str) -> str:
        if _MASKED.fullmatch(text):
            return "https://example.org/*****"
        try:
            parts = urlsplit(text)
        except ValueError:
            return f"https://example.org/{CANARY}"
        api = _API.fullmatch(parts.path)
        if api is None:
            return f"https://example.org/{CANARY}"
        named = [
            word if word != "{id}" else part if part in _LINK_WORDS else self.id(part)
            for part, word in zip(api[1].split("/"), path_template(api[1]).split("/"), strict=True)
        ]
        asked = [
            (
                name if is_parameter(name) else CANARY,
                value if _SMALL_NUMBER.fullmatch(value) else self.text(value),
            )
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
        ]
        return f"https://api.example.org{'/'.join(named)}" + (f"?{urlencode(asked)}" if asked else "")


def _alphabets(text: str) -> list[str]:
    """Return the alphabets that a text is made of: digits, great letters, small ones."""
    small = _PLAIN if re.search(r"[g-zA-Z]", text) else _HEX
    kinds = ((str.isdecimal, "0123456789"), (str.isupper, small.upper()), (str.islower, small))
    return [letters for is_one, letters in kinds if any(map(is_one, text))]


def _time(time: re.Match[str]) -> str:
    if time["between"] is None:
        return "2026-01-02"
    fraction = "" if time["fraction"] is None else "." + "678901234"[: len(time["fraction"]) - 1]
    return f"2026-01-02{time['between']}03:04:05{fraction}{_zone(time['zone'])}"


def _zone(zone: str | None) -> str:
    if zone is None or zone == "Z":
        return zone or ""
    return "+00:00" if ":" in zone else "+0000"
