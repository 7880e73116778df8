"""What a template has rendered, read by one reader for each kind: text, numbers and ids. Pure, and without a word about who asks.

The readers say what a value means. Whether a field is needed, how long it may be and what a caller is told belong to who asks.
"""

import re
import sys
import unicodedata

# What template languages write for a value that is not there.
_MISSING = {"null", "none", "undefined"}
# Within an id only as the languages write them: "none" may be a word there.
_MISSING_PARTS = {"null", "None", "undefined"}
_PLACEHOLDER = re.compile(r"\{\{|\{%")  # a template that nobody rendered
_WHOLE_WITH_POINT = re.compile(r"([+-]?\d+)\.0+")
_NUMBER = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", re.ASCII)  # as Twig's number_format writes it
_BETWEEN_PARTS = re.compile(r"[-_.:#|]")


def read_text(text: str) -> str:
    """Return the text that a person sees: without invisible characters, and without blanks around it.

    >>> read_text("\ufeff jane\u200b@example.org\u00a0"), read_text(" \t\u2060 ")
    ('jane@example.org', '')
    """
    return "".join(letter for letter in text if not _is_invisible(letter)).strip()


def read_number(value: object) -> int | float | None:
    """Return a finite number, or one written in text; None for anything else.

    Text has digits, a point before the fraction, and commas between thousands if any: "1,5" is two numbers in two countries.

    >>> read_number(" 1,250.50 "), read_number("6.0"), read_number(1e3), read_number(7)
    (1250.5, 6.0, 1000.0, 7)
    >>> read_number("seven"), read_number("1,5"), read_number(True), read_number("inf"), read_number("")
    (None, None, None, None, None)
    """
    if isinstance(value, str):
        value = _number_in(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        return None
    return value


def read_id(value: object) -> str | None:
    """Return an id as text, "" where there is none, None for what is neither text nor a number.

    A number and the same number in text are one id. Blanks, the words for a missing value and a placeholder that nobody rendered are no
    id.

    >>> [read_id(value) for value in (6, 6.0, "6", " 6.0 ", "06", "order-7")]
    ['6', '6', '6', '6', '06', 'order-7']
    >>> [read_id(value) for value in (None, "  ", "null", "None", "{{ person.id }}", "reward-{{ id }}", True, [])]
    ['', '', '', '', '', '', None, None]
    """
    if value is None:
        return ""
    if isinstance(value, str):
        text = read_text(value)
    elif (number := read_number(value)) is not None:
        text = str(int(number) if number == int(number) else number)
    else:
        return None
    if text.lower() in _MISSING or _PLACEHOLDER.search(text):
        return ""
    whole = _WHOLE_WITH_POINT.fullmatch(text)
    return whole[1] if whole else text


def lacks_a_part(id: str) -> bool:
    """Return whether an id shows that one of the parts it is put together from was empty: it would be everybody's.

    >>> [lacks_a_part(id) for id in ("reward-", "-2027", "reward--2027", "reward-None", "reward_null_1")]
    [True, True, True, True, True]
    >>> [lacks_a_part(id) for id in ("reward-7", "birthday-2027-01HX", "nonesuch", "6")]
    [False, False, False, False]
    """
    parts = _BETWEEN_PARTS.split(id)
    return len(parts) > 1 and any(part == "" or part in _MISSING_PARTS for part in parts)


def _number_in(text: str) -> int | float | None:
    """Return the number that a text writes, None if it writes none."""
    plain = read_text(text)
    if _GROUPED.fullmatch(plain):
        plain = plain.replace(",", "")
    if not _NUMBER.fullmatch(plain):
        return None
    return float(plain) if "." in plain else int(plain)


def _is_invisible(letter: str) -> bool:
    """Return whether a letter takes no room: marks of direction, joiners, a byte order mark; control characters that are no blanks."""
    return unicodedata.category(letter) in {"Cf", "Cc"} and not letter.isspace()
