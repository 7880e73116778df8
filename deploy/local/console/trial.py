"""A template tried while it is typed: the JSON, or the place and reason of a fault, and the likely faults.

No network, no pages.
"""

import json
from dataclasses import dataclass
from typing import Any

from deploy.targets.catalogue import Notification, Platform
from deploy.targets.trying import NoJsonError, TemplateFailedError, rendered
from deploy.targets.warnings import Warned, warnings

TEMPLATE, RENDERED, CONTEXT = "template", "rendered", "context"


@dataclass(frozen=True)
class Fault:
    """The reason why there is no JSON, with its line and column, from 1, in the template, the rendered text, or the
    event context. Both are 0 if no place is known.
    """

    where: str
    line: int
    column: int
    reason: str


@dataclass(frozen=True)
class Trial:
    """The result of a template: `body` is the JSON as Omneo would send it, "" where there is none.

    `shown` is the text for a person: the indented JSON, or else the rendered text; then `fault` says why it is not
    JSON.
    """

    body: str = ""
    shown: str = ""
    fault: Fault | None = None
    warnings: tuple[Warned, ...] = ()


def tried(template: str, context: str, platform: Platform, notification: Notification) -> Trial:
    """Try a template with an event context, both as they were typed."""
    try:
        event = json.loads(context)
    except json.JSONDecodeError as error:
        return Trial(fault=Fault(CONTEXT, error.lineno, error.colno, f"{error.msg}."))
    if not isinstance(event, dict):
        return Trial(fault=Fault(CONTEXT, 1, 1, "An event context is an object, as in {…}."))
    return _with(template, event, platform, notification)


def _with(template: str, event: dict[str, Any], platform: Platform, notification: Notification) -> Trial:
    try:
        body = rendered(template, event)
        found = warnings(template, event, platform, notification)
    except TemplateFailedError as error:
        return Trial(fault=Fault(TEMPLATE, error.place.line, error.place.column, error.reason))
    except NoJsonError as error:
        reason = f"{error}" if not error.line else f"{error.args[0].partition(': ')[2]}"
        return Trial(shown=error.written, fault=Fault(RENDERED, error.line, error.column, reason))
    return Trial(body, json.dumps(json.loads(body), indent=2, ensure_ascii=False), None, tuple(found))
