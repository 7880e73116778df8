"""Klaviyo's endpoints by short names, with the calls that an account may make of each: every endpoint counts alone."""

import re
from enum import StrEnum
from typing import NamedTuple, Self

_WINDOW = re.compile(r"(\d{1,9});w=(\d{1,9})")


class Limit(NamedTuple):
    """How many calls an account may make in one second and in one minute."""

    a_second: int
    a_minute: int

    @classmethod
    def read(cls, header: str) -> "Limit | None":
        """Return the limit in the header RateLimit-Limit, None if the header does not name both windows.

        >>> Limit.read("15, 15;w=1, 150;w=60"), Limit.read("15"), Limit.read("0, 0;w=1, 0;w=60")
        (Limit(a_second=15, a_minute=150), None, None)
        """
        calls = {int(seconds): int(count) for count, seconds in _WINDOW.findall(header)}
        a_second, a_minute = calls.get(1, 0), calls.get(60, 0)
        return cls(a_second, a_minute) if a_second and a_minute else None


# https://developers.klaviyo.com/en/docs/rate_limits_and_error_handling
_XS, _S, _M, _L, _XL = Limit(1, 15), Limit(3, 60), Limit(10, 150), Limit(75, 750), Limit(350, 3500)


class Endpoint(StrEnum):
    """An endpoint whose calls Klaviyo counts, with its documented limit. The store holds the names, so they never change."""

    limit: Limit

    def __new__(cls, name: str, limit: Limit) -> Self:
        """Make the member: a text that carries a limit."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.limit = limit
        return member

    EVENTS = "events", _XL
    BULK_EVENTS = "bulk-events", _M
    READ_EVENTS = "read-events", _XL
    READ_METRICS = "read-metrics", _M
    PROFILE_IMPORT = "profile-import", _L
    CREATE_PROFILE = "create-profile", _L
    READ_PROFILE = "read-profile", _L
    READ_PROFILES = "read-profiles", _L
    MERGE_PROFILES = "merge-profiles", _M
    BULK_IMPORT = "bulk-import", _M
    READ_BULK_IMPORT = "read-bulk-import", _M
    READ_IMPORT_ERRORS = "read-import-errors", _M
    SUBSCRIBE = "subscribe", _L
    UNSUBSCRIBE = "unsubscribe", _L
    SUPPRESS = "suppress", _L
    DELETE_PROFILE = "delete-profile", _S
    READ_LIST = "read-list", _L
    READ_LIST_PROFILES = "read-list-profiles", _L
    READ_DATA_SOURCES = "read-data-sources", _S
    CREATE_DATA_SOURCE = "create-data-source", _S
    RECORDS = "records", _L
    BULK_RECORDS = "bulk-records", Limit(3, 15)
    READ_ACCOUNT = "read-account", _XS
    READ_WEBHOOK_TOPICS = "read-webhook-topics", _XS
    READ_WEBHOOKS = "read-webhooks", _XS
    CREATE_WEBHOOK = "create-webhook", _XS
    UPDATE_WEBHOOK = "update-webhook", _XS
    DELETE_WEBHOOK = "delete-webhook", _XS
    TOKEN = "token", Limit(1, 10)  # of an install: seen, not documented
