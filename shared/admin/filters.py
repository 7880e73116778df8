"""Which dead jobs a caller asks for: the filters, the place and the length of a page, read from a query or a body."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from shared.admin.moments import read_moment
from shared.errors import InvalidPayloadError
from shared.jobs.jobs import KINDS
from shared.jobs.rules.causes import Cause
from shared.jobs.rules.persons import hashed_name
from shared.jobs.rules.wanted import Wanted
from shared.tenants.tenants import Tenant

FILTERS = ("kind", "cause", "reason", "metric", "profile", "since", "until")
MOST, USUAL = 200, 50
_WORDS: Mapping[str, list[str]] = {
    "kind": sorted({*KINDS, "unread"}),
    "cause": sorted(cause.value for cause in Cause),
}
# The id of a job, as far as its form tells: the store is not asked for another.
ID = re.compile(r"(?!__.*__)(?!\.{1,2}$)[\w.-]{1,200}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Page:
    """The dead jobs that a caller asks for: filters, and the place in the list."""

    wanted: Wanted
    after: str | None = None
    limit: int = USUAL


def read_page(tenant: Tenant, query: Mapping[str, str]) -> Page:
    """Return the page that a query asks for.

    Raises:
        InvalidPayloadError: a filter is unknown, or a value is impossible; the message names the known ones.
    """
    filters = {name: value for name, value in query.items() if name not in ("after", "limit")}
    after = query.get("after") or None
    if after is not None and not ID.fullmatch(after):
        raise InvalidPayloadError("after must be the value of next in the page before.")
    if "@" in query.get("profile", ""):
        # Every proxy would write an address in a URL to its log.
        raise InvalidPayloadError(
            "profile must be the id of a profile, or a hash; an address must not stand in a URL."
        )
    return Page(
        read_filters(tenant, filters, beside=("after", "limit")), after, _limit(query.get("limit", ""))
    )


def read_filters(tenant: Tenant, given: Mapping[str, object], *, beside: tuple[str, ...] = ()) -> Wanted:
    """Return the filters that stand in the texts. `profile` is an id, an address, or a hash. `beside` are the other names that the caller
    knows.

    Raises:
        InvalidPayloadError: as `read_page`.
    """
    if given.keys() - set(FILTERS):
        known = ", ".join((*FILTERS, *beside))
        raise InvalidPayloadError(f"There is a filter that is not known. The known ones are: {known}.")
    for name, value in given.items():
        if not isinstance(value, str) or not value.strip():
            raise InvalidPayloadError(f"{name} must be a text with at least one character.")
    texts: dict[str, Any] = {name: str(value).strip() for name, value in given.items()}
    for name, words in _WORDS.items():
        if name in texts and texts[name] not in words:
            raise InvalidPayloadError(f"{name} must be one of: {', '.join(words)}.")
    if "profile" in texts:
        texts["profile"] = _hash(tenant, texts["profile"])
    times = {name: _time(name, texts.pop(name)) for name in ("since", "until") if name in texts}
    return replace(Wanted(**texts), since=times.get("since"), until=times.get("until"))


def read_order(tenant: Tenant, body: object) -> Wanted:
    """Return the filter of a replay: the body is a JSON object of filters, or `{"all": true}` alone.

    Raises:
        InvalidPayloadError: the body is neither, or a filter is unknown: a misspelt filter must not replay all jobs.
    """
    if not isinstance(body, dict) or not body:
        raise InvalidPayloadError(
            f'Send a JSON object with filters ({", ".join(FILTERS)}), or {{"all": true}}.'
        )
    if "all" in body:
        if body["all"] is not True or len(body) > 1:
            raise InvalidPayloadError("all must be true, without any filter beside it.")
        return Wanted()
    return read_filters(tenant, body, beside=("all",))


def _hash(tenant: Tenant, profile: str) -> str:
    if _HASH.fullmatch(profile):
        return profile
    if tenant.ledger_key is None:
        raise InvalidPayloadError(
            "profile: this tenant has no ledger key, so its jobs cannot be found by a person."
        )
    return hashed_name(tenant.ledger_key.get_secret_value(), profile)


def _limit(given: str) -> int:
    if not given:
        return USUAL
    if not given.isascii() or not given.isdigit() or not 1 <= int(given[:9]) <= MOST:
        raise InvalidPayloadError(f"limit must be a whole number from 1 to {MOST}.")
    return int(given)


def _time(name: str, given: str) -> datetime:
    moment = read_moment(given)
    if moment is None:
        raise InvalidPayloadError(
            f"{name} must be a date or a time, as in 2026-11-21 or 2026-11-21T10:00:00Z."
        )
    return moment
