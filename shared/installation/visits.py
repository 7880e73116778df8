"""The input and the output of a step of an install: a browser's visit, a page, an address to go on to, or the reason why it stops. steps.py holds
the steps, pages/policy.py sends the answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shared.errors import ExtensionError


class Refusal(StrEnum):
    """The reason why an install stops."""

    PREFETCHED = "prefetched"
    KLAVIYO_REFUSED = "klaviyo_refused"
    FOREIGN_FORM = "foreign_form"
    LINK_UNREADABLE = "link_unreadable"
    LINK_SPENT = "link_spent"
    DENIED = "denied"
    UNKNOWN_STATE = "unknown_state"
    OTHER_BROWSER = "other_browser"
    MISSING_CODE = "missing_code"
    EXCHANGE_FAILED = "exchange_failed"
    GRANT_GONE = "grant_gone"
    KLAVIYO_DOWN = "klaviyo_down"
    QUEUES_FAILED = "queues_failed"
    CANCELLED = "cancelled"


class InstallRefusedError(ExtensionError):
    """The install stops; `refusal` says why, and `reason` is Klaviyo's own word for it. The merchant may start again."""

    def __init__(self, refusal: Refusal, reason: str = "") -> None:
        super().__init__(refusal.value)
        self.refusal = refusal
        self.reason = reason


@dataclass(frozen=True)
class Visit:
    """A visit of a merchant's browser: the fields of a query or a form, our cookies, and the origin of a form.

    Each attempt has a cookie of its own, so that two tabs do not disturb each other. `is_ahead` says that the browser loads the page page
    yet: the browser fetches it in case somebody will.
    """

    fields: Mapping[str, str]
    cookies: tuple[str, ...]
    origin: str
    is_ahead: bool = False


@dataclass(frozen=True)
class Page:
    """A page to show: a template of `shared/installation/pages` and the values in it."""

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True)
class GoTo:
    """An address to send the browser to, with a cookie that binds it."""

    url: str
    cookie: str
