"""Renders a target's template as Twig would, on Jinja's sandbox. It knows no target and sends nothing.

Omneo's pages "Targets" and Twig's own documentation: true prints 1, false and null print nothing, a path that leads
nowhere prints nothing, a whole float prints without its point. Interpolation, dotted paths, conditions, loops and the
filters `number_format`, `date`, `default`, `json_encode`, `raw` and Jinja's namesakes of Twig's; no `??`, no `? :`.

Assumed: nothing is escaped, so a quote in a name breaks the JSON around it unless the template says `json_encode`.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from jinja2 import ChainableUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment


class TemplateFailedError(Exception):
    """The template cannot be parsed or rendered; the message says where, without values."""


class Twig:
    """Renders templates. `now` gives Unix seconds, for `date` of nothing."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._environment = _Environment(undefined=ChainableUndefined, finalize=_printed, autoescape=False)
        self._environment.filters |= {
            "number_format": number_format,
            "date": self._date,
            "default": _default,
            "json_encode": json.dumps,
            "raw": lambda value: value,
        }
        self._environment.tests |= {"null": lambda value: value is None, "empty": _is_empty}

    def check(self, template: str) -> None:
        """Do nothing if the template can be parsed.

        Raises:
            TemplateFailedError: it cannot.
        """
        try:
            self._environment.parse(template)
        except TemplateError as error:
            raise TemplateFailedError(type(error).__name__) from error

    def render(self, template: str, context: Mapping[str, Any]) -> str:
        """Return the template filled in.

        Raises:
            TemplateFailedError: it cannot be parsed, or asks for what the context does not allow.
        """
        try:
            return self._environment.from_string(template).render(context)
        except (TemplateError, ValueError, TypeError, ArithmeticError) as error:
            raise TemplateFailedError(type(error).__name__) from error

    def _date(self, value: object, format: str = "F j, Y H:i") -> str:
        if value is None or isinstance(value, ChainableUndefined):
            moment = datetime.fromtimestamp(self._now(), UTC)
        elif isinstance(value, int | float):
            moment = datetime.fromtimestamp(value, UTC)
        else:
            moment = datetime.fromisoformat(str(value))
        return php_date(moment, format)


class _Environment(SandboxedEnvironment):
    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look into mappings before attributes: `transaction.items` is the key, never Python's method."""
        if isinstance(obj, Mapping):
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)


def number_format(value: object, decimals: int = 0, point: str = ".", thousands: str = ",") -> str:
    """Return a number the way PHP's number_format writes it; what is no number counts as 0.

    >>> number_format("1234.5", 2), number_format(2.5)
    ('1,234.50', '3')
    """
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal(0)
    rounded = number.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    return f"{rounded:,f}".translate({ord(","): thousands, ord("."): point})


def php_date(moment: datetime, format: str) -> str:
    r"""Return `moment` in the letters of PHP's date(); a backslash keeps the next letter as it is.

    >>> php_date(datetime(2026, 11, 1, 9, 5, tzinfo=UTC), r"jS F Y \a\t H:i")
    '1st November 2026 at 09:05'
    """
    written, letters = [], iter(format)
    for letter in letters:
        if letter == "\\":
            written.append(next(letters, ""))
        else:
            written.append(_LETTERS[letter](moment) if letter in _LETTERS else letter)
    return "".join(written)


def _ordinal(moment: datetime) -> str:
    if moment.day in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(moment.day % 10, "th")


_LETTERS: dict[str, Callable[[datetime], str]] = {
    "d": lambda moment: f"{moment.day:02}",
    "j": lambda moment: str(moment.day),
    "S": _ordinal,
    "D": lambda moment: f"{moment:%a}",
    "l": lambda moment: f"{moment:%A}",
    "m": lambda moment: f"{moment.month:02}",
    "n": lambda moment: str(moment.month),
    "M": lambda moment: f"{moment:%b}",
    "F": lambda moment: f"{moment:%B}",
    "Y": lambda moment: str(moment.year),
    "y": lambda moment: f"{moment:%y}",
    "H": lambda moment: f"{moment.hour:02}",
    "G": lambda moment: str(moment.hour),
    "h": lambda moment: f"{moment:%I}",
    "g": lambda moment: str(moment.hour % 12 or 12),
    "i": lambda moment: f"{moment.minute:02}",
    "s": lambda moment: f"{moment.second:02}",
    "A": lambda moment: f"{moment:%p}",
    "a": lambda moment: f"{moment:%p}".lower(),
    "U": lambda moment: str(int(moment.timestamp())),
    "c": lambda moment: moment.isoformat(timespec="seconds"),
}


def _printed(value: Any) -> Any:
    match value:
        case True:
            return "1"
        case False | None:
            return ""
        case float():
            return f"{value:.14g}"
        case list() | dict():
            return "Array"
        case _:
            return value


def _is_empty(value: Any) -> bool:
    # Twig's word: missing, null, false, "" and []; never a number.
    return value is False or (not value and not isinstance(value, int | float))


def _default(value: Any, fallback: Any = "") -> Any:
    return fallback if _is_empty(value) else value
