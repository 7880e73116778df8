"""The part of a service's own words that may be shown: an explanation without the values that it might quote. Pure."""

import re
import unicodedata

_LONGEST = 300
_LEFT_OUT = "..."
# A text in quotation marks may be a value, unless it is a scope such as "profiles:write".
_QUOTED = re.compile(r"(?<!\w)([\"'`])(.*?)\1(?!\w)")
_SCOPE = re.compile(r"[a-z]+(?:-[a-z]+)*:(?:read|write|full)")
# A word of plain English with its punctuation. Any other text, such as an address, a number or an id, may be a value.
_WORD = re.compile(r"[(\[]?[A-Za-z]+(?:[-/'][A-Za-z]+)*[)\].,;:!?]*")


def without_values(text: str) -> str:
    """Return the words of an explanation, with "..." in place of each possible value.

    >>> without_values("You must have Advanced KDP enabled to access this endpoint.")
    'You must have Advanced KDP enabled to access this endpoint.'
    >>> without_values("Profile 'Jane' with jane@example.org, +61 412 345 678, lacks profiles:write.")
    'Profile ... with ... lacks profiles:write.'
    """
    plain = _QUOTED.sub(_unless_scopes, unicodedata.normalize("NFKC", text))
    shown: list[str] = []
    for word in plain.split():
        fits = _WORD.fullmatch(word) or _SCOPE.fullmatch(word.strip("\"'`()[].,;"))
        if fits or not shown or shown[-1] != _LEFT_OUT:
            shown.append(word if fits else _LEFT_OUT)
    whole = " ".join(shown)
    return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST].rpartition(' ')[0]} {_LEFT_OUT}"


def _unless_scopes(quoted: re.Match[str]) -> str:
    inside = quoted[2]
    return inside if all(map(_SCOPE.fullmatch, re.split(r"[\s,]+", inside.strip()))) else _LEFT_OUT
