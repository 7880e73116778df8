"""A template tried with an event context: the body it becomes, or where and why it becomes none."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from deploy.local.sandbox.omneo.json_logic import UnknownOperatorError, evaluate
from deploy.local.sandbox.omneo.twig import TemplateFailedError, Twig


class NoJsonError(Exception):
    """The rendered text is not JSON; the message says where and why. `written` is the rendered text; `line` and
    `column` are positions in it, from 1, or 0 if no place is known.
    """

    def __init__(self, message: str, *, written: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.written = written
        self.line = line
        self.column = column


def rendered(template: str, context: Mapping[str, Any], now: Callable[[], float] = time.time) -> str:
    """Return the JSON that a template becomes, as Omneo would send it.

    Raises:
        TemplateFailedError: it cannot be rendered.
        NoJsonError: it is rendered, and is no JSON.
    """
    written = Twig(now).render(template, context)
    try:
        json.loads(written, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno} of what is rendered"
        raise NoJsonError(
            f"{place}: {error.msg}. Write values with |json_encode, and without quotes around.",
            written=written,
            line=error.lineno,
            column=error.colno,
        ) from None
    except ValueError as error:
        raise NoJsonError(f"What is rendered is no JSON: {error}.", written=written) from None
    return written


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number there")


def is_called(condition: Mapping[str, Any] | None, context: Mapping[str, Any]) -> bool:
    """Return whether a target with this condition would be called.

    Raises:
        NoJsonError: it uses an operator that is not known.
    """
    try:
        return condition is None or bool(evaluate(condition, context))
    except UnknownOperatorError as error:
        raise NoJsonError(f"The condition cannot be evaluated: {error}") from None


__all__ = ["NoJsonError", "TemplateFailedError", "is_called", "rendered"]
