"""Readers for values that a template has rendered: text, numbers and ids. Pure; they do not know the caller.

A reader returns the meaning of a value. Its caller decides whether a field is needed, how long it may be and which message to give.
"""

import re
import sys
import unicodedata

# The words of template languages and people for a missing value, or for a value that is no text: PHP and Twig write every list as Array.
_MISSING = {
    *("null", "none", "undefined", "nil", "<nil>", "(null)", "(none)", "(undefined)", "<no value>", "array", "[object object]"),
    *("n/a", "#n/a", "[]", "{}", "()", "''", '""', "00000000-0000-0000-0000-000000000000"),
}  # fmt: skip
# Within an id, only in the spelling of the languages: "none" may be a word there.
_MISSING_PARTS = {
    *("null", "NULL", "Null", "None", "undefined", "Undefined", "NaN", "NAN", "nan"),
    *("[object Object]", "[object", "Object]", "Array"),
}  # fmt: skip
# Words for a missing value with a blank in them; a blank also separates parts.
_MISSING_IN_PIECES = re.compile(r"<no value>|\((?:null|none|undefined)\)", re.IGNORECASE)
# People also write this beside an order or a size: a gap, which is harmless in an id that still names its thing.
_GAP = re.compile(r"#?\bn/a\b|\(\s*\)|\[\s*\]|\{\s*\}|<\s*>|'\s*'|\"\s*\"", re.IGNORECASE)
_UNKNOWN = "unknown"  # a gap at the end of an id; within one it may be a word
# An unrendered template, or half of one: Twig's and Klaviyo's, ERB's, Mailchimp's, JavaScript's, and a lone pair of braces around a name.
_PLACEHOLDER = re.compile(
    r"\{\{|\{%|\{#|\}\}|%\}|[$#]\{|<%|%>|\*\||\|\*|%%[A-Za-z_]+%%|\{\s*[A-Za-z_]+(?:\.[A-Za-z_]+)*\s*\}"
)
_WHOLE_WITH_POINT = re.compile(r"([+-]?\d+)\.0+")
# With an exponent, as languages render very large or small numbers: it always has a sign.
_NUMBER = re.compile(r"[+-]?(\d{1,40}(\.\d{0,400})?|\.\d{1,400})([eE][+-]\d{1,3})?", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", re.ASCII)  # as Twig's number_format writes it
_BETWEEN_PARTS = re.compile(r"\s*(?:::|[-\u2013\u2014_.:#|/+~,;&=\\\u00b7\u2022])\s*|\s+")
_SCHEME = re.compile(r"[a-z][a-z0-9+.]*://")  # the gap in it is no empty part
# The fixed parts of a recipe for ids: words, as in `reward` and `RewardIssued`, and a year. Random ids look different.
_FIXED_PART = re.compile(
    r"(?:[A-Z]?(?:[a-z]|[^\W\d_A-Z])+(?:[A-Z][a-z]+)*|[A-Z]+)(?:\d{0,2}|(?:19|20)\d\d)"
    r"|\d{0,2}[a-z]{2,}\d{0,2}[a-z]{0,2}"  # 10off, winback90d
    r"|(?:19|20)\d\d(?:\d{4})?"
)
_YEAR = re.compile(r"(?:19|20)\d\d", re.ASCII)
_OF_A_DATE = re.compile(r"\d{1,2}", re.ASCII)
# Characters without width that Unicode counts as visible: fillers, a blank in Braille, marks of style.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {
    chr(code) for code in range(0xFE00, 0xFE10)
}
_ARABIC_POINTS = {0x66B: ".", 0x66C: ","}
# Full-width forms, blanks that no key types, and other characters for a hyphen or a minus.
_AS_TYPED = (
    {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
    | dict.fromkeys([0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], 0x20)
    | dict.fromkeys([0x2010, 0x2011, 0x2212], 0x2D)
)


def read_text(text: str) -> str:
    """Return the visible text: without invisible characters, and without blanks around it.

    >>> read_text("\ufeff jane\u200b@example.org\u00a0"), read_text(" \t\u2060 ")
    ('jane@example.org', '')
    """
    return "".join(letter for letter in text if not _is_invisible(letter)).strip()


def read_plain(text: str) -> str:
    """Return the text of an id, a number, an address or a date: as `read_text`, with usual widths, digits, blanks and hyphens.

    >>> read_plain("\uff2a\uff41\uff4e\uff45\uff20example.org"), read_plain("\u0661\u0662")
    ('Jane@example.org', '12')
    """
    if text.isascii():
        return read_text(text)
    letters = unicodedata.normalize("NFC", text.translate(_AS_TYPED))
    return read_text("".join(str(unicodedata.decimal(letter, letter)) for letter in letters))


def read_number(value: object) -> int | float | None:
    """Return a finite number, or the number that a text writes; None for any other value.

    Text has digits, a point before the fraction, and perhaps commas between thousands: "1,5" is two numbers in two countries. An exponent
    must have a sign, as languages render it.

    >>> read_number(" 1,250.50 "), read_number("6.0"), read_number(1e3), read_number(7), read_number("5.5E-17")
    (1250.5, 6.0, 1000.0, 7, 5.5e-17)
    >>> read_number("seven"), read_number("1,5"), read_number(True), read_number("inf"), read_number("")
    (None, None, None, None, None)
    """
    if isinstance(value, str):
        value = _number_in(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        return None
    return value


def read_id(value: object) -> str | None:
    """Return an id as text, "" if there is none, None for a value that is neither text nor a number.

    A number and the same number in text are one id. Blanks, the words for a missing value and an unrendered placeholder are no id.

    >>> [read_id(value) for value in (6, 6.0, "6", " 6.0 ", "06", "order-7")]
    ['6', '6', '6', '6', '06', 'order-7']
    >>> [read_id(value) for value in (None, "  ", "null", "None", "{{ person.id }}", "reward-{{ id }}", "[object Object]", True, [])]
    ['', '', '', '', '', '', '', None, None]
    """
    if value is None:
        return ""
    if isinstance(value, str):
        text = read_plain(value)
    elif (number := read_number(value)) is not None:
        text = str(int(number) if number == int(number) else number)
    else:
        return None
    if text.lower() in _MISSING or is_unrendered(text):
        return ""
    whole = _WHOLE_WITH_POINT.fullmatch(text)
    return whole[1] if whole else text


def is_unrendered(text: str) -> bool:
    """Return whether a text holds an unrendered placeholder of a template, such as `{{ person.id }}` or `${id}`."""
    return _PLACEHOLDER.search(text) is not None


def lacks_a_part(id: str) -> bool:
    """Return whether an id shows that one of its parts was empty or lost. Such an id would be the same for every person.

    It holds U+FFFD, which stands for a letter that could not be read, a word for a missing value, or nothing but the words and the year of its recipe, with a gap.

    >>> [lacks_a_part(id) for id in ("reward-", "-2027", "reward--2027", "reward-None", "reward_null_1", "order-2027-11-")]
    [True, True, True, True, True, True]
    >>> [lacks_a_part(id) for id in ("reward-7", "birthday-2027-01HX", "nonesuch", "6", "V1StGXR8_Z5jdHi6B-")]
    [False, False, False, False, False]
    >>> [lacks_a_part(id) for id in ("Happy Birthday-", "order #", "BFCM2027-", "reward-NULL", "https://shop.example/orders/ABC")]
    [True, True, True, True, False]
    >>> [lacks_a_part(id) for id in ("reward-N/A", "reward-()-2027", "birthday-NULL-2027", "reward-unknown", "?", "order-7-N/A")]
    [True, True, True, True, True, False]
    """
    if "\ufffd" in id:
        return True
    told = _MISSING_IN_PIECES.sub("null", _SCHEME.sub("", id, count=1))
    parts = _BETWEEN_PARTS.split(_GAP.sub("-", told))
    given = [part for part in parts if any(letter.isalnum() for letter in part)]
    if len(parts) == 1:
        return id != "" and (not given or id.casefold() in {"nan", _UNKNOWN})
    if parts[-1].casefold() in _MISSING or any(part in _MISSING_PARTS for part in parts):
        return True
    if given and given[-1].casefold() == _UNKNOWN:
        del given[-1]
    has_year = any(_YEAR.fullmatch(part) for part in given)
    return len(given) < len(parts) and all(
        _FIXED_PART.fullmatch(part) or (has_year and _OF_A_DATE.fullmatch(part)) for part in given
    )


def _number_in(text: str) -> int | float | None:
    """Return the number in a text, None if there is none."""
    plain = read_plain(text).translate(_ARABIC_POINTS)
    if _GROUPED.fullmatch(plain):
        plain = plain.replace(",", "")
    if not _NUMBER.fullmatch(plain):
        return None
    return int(plain) if plain.lstrip("+-").isdigit() else float(plain)


def _is_invisible(letter: str) -> bool:
    """Return whether a character is invisible: a mark of direction, a joiner, a byte order mark, or a control character that is no blank."""
    if letter in _UNSEEN:
        return True
    return unicodedata.category(letter) in {"Cf", "Cc"} and not letter.isspace()
