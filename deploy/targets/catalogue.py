"""The catalogue as it lies in this folder: platforms, notifications, templates and sample contexts, read on demand."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
EXTENSION = "klaviyo"  # the platform that is reached through the extension
Json = dict[str, Any]
_TO_FILL_IN = re.compile(
    r"https://SHOP|\bcampaign = 123456\b|\b(?:EXTENSION|TENANT|SUBDOMAIN|REGION|API_KEY|SMART_EMAIL_ID|SERVICE)\b"
)


class Channel(StrEnum):
    """The channel of a platform, which decides the consent that is needed."""

    EMAIL = "email"
    SMS = "sms"


class NotInCatalogueError(Exception):
    """There is no such platform or notification; the message names those there are."""


@dataclass(frozen=True)
class Platform:
    """The address and the form of a target. Words in capitals in `url` and `headers` are the merchant's to fill in."""

    name: str
    title: str
    channel: Channel
    url: str
    headers: Mapping[str, str]
    sources: tuple[str, ...]
    secrets: str
    limits: str
    says: str


@dataclass(frozen=True)
class Notification:
    """The trigger of a notification, and its parts in Klaviyo.

    `trigger` is the event of Omneo's reaction, "" if `schedule` describes the start. `profile` is the path of the
    profile in the event context, "" for the context itself. `needs` is a path that the message needs, unless the
    extension fills it in. `logic` is a condition beside the consent, or None.
    """

    name: str
    title: str
    trigger: str
    schedule: str
    profile: str
    needs: str
    logic: Json | None
    query: str
    metric: str
    filters: tuple[str, ...]
    snippet: str
    says: str

    def condition(self, platform: Platform) -> Json:
        """Return the JSON Logic that must hold for the target to be called: there is an address, its owner agreed, and
        the `logic` holds.

        As in Omneo, a consent that was never decided counts as agreed. It uses only operators that Omneo's pages name.
        """
        profile = f"{self.profile}." if self.profile else ""
        comms = f"{profile}attributes.comms.{platform.channel}"
        needed = [f"{profile}{'email' if platform.channel is Channel.EMAIL else 'mobile_phone'}"]
        if self.needs and platform.name != EXTENSION:
            needed.append(self.needs)
        rules = [
            *({"!==": [{"var": path}, nothing]} for path in needed for nothing in (None, "")),
            {"!==": [{"var": f"{comms}_promo"}, False]},
            {"!==": [{"var": f"{comms}_optout"}, True]},
            {"!==": [{"var": f"{comms}_bounced"}, True]},
        ]
        return {"and": [*rules, *([self.logic] if self.logic else [])]}


def platform(name: str) -> Platform:
    """Return a platform.

    Raises:
        NotInCatalogueError: there is none of that name.
    """
    path = HERE / name / "platform.toml"
    if name not in platforms():
        raise NotInCatalogueError(f"There is no platform {name}. There are: {', '.join(platforms())}.")
    row = tomllib.loads(path.read_text(encoding="utf-8"))
    row |= {"channel": Channel(row["channel"]), "sources": tuple(row["sources"])}
    return Platform(name=name, **row)


def notification(name: str) -> Notification:
    """Return a notification. Raises as above."""
    rows = _rows()
    if name not in rows:
        raise NotInCatalogueError(f"There is no notification {name}. There are: {', '.join(rows)}.")
    row = {"schedule": "", "query": "", "needs": "", **rows[name]}
    logic = json.loads(row.pop("condition", "null"))
    texts = {key: str(row[key]).strip() for key in ("snippet", "says")}
    return Notification(name=name, logic=logic, **{**row, **texts, "filters": tuple(row["filters"])})


@cache
def platforms() -> tuple[str, ...]:
    """Return the names of the platforms."""
    return tuple(sorted(path.parent.name for path in HERE.glob("*/platform.toml")))


def notifications() -> tuple[str, ...]:
    """Return the names of the notifications."""
    return tuple(_rows())


def template_path(platform: str, notification: str) -> Path:
    """Return where a template lies."""
    return HERE / platform / f"{notification}.json.twig"


def template(platform: str, notification: str) -> str:
    """Return a template."""
    return template_path(platform, notification).read_text(encoding="utf-8")


def to_fill_in(text: str) -> str:
    """Return the part of an address or a template that a merchant has to fill in first, "" if there is none."""
    found = _TO_FILL_IN.search(text)
    return found[0] if found else ""


def sample(notification: str) -> Json:
    """Return an event context of the notification, with every path that the templates use."""
    found: Json = json.loads((HERE / "contexts" / f"{notification}.json").read_text(encoding="utf-8"))
    return found


def with_profile(context: Json, profile: Mapping[str, Any], notification: Notification) -> Json:
    """Return a context that is about another profile."""
    if notification.profile:
        return {**context, notification.profile: dict(profile)}
    return {**{key: value for key, value in context.items() if key == "definition"}, **profile}


@cache
def _rows() -> Mapping[str, Any]:
    return tomllib.loads((HERE / "notifications.toml").read_text(encoding="utf-8"))
