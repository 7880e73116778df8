"""The people in a story: whose ids, addresses and numbers stand in a call. Pure."""

import re
from collections.abc import Iterator
from typing import Any

from deploy.local.console.story import Story, json_of

_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}")
_PERSON = frozenset(
    {"profile_id", "person_id", "external_id", "phone_number", "mobile_phone", "phone", "email", "klaviyo_id"}
)
_PERSON_IN_PATH = re.compile(r"/profiles/([0-9A-Za-z-]{8,64})")


def see_people(story: Story, target: str, body: bytes, at: float) -> None:
    """Note everybody in a call, by its address and its body; `at` is its time."""
    if len(story.people) > 200:
        return
    for person in (
        *_PERSON_IN_PATH.findall(target),
        *_EMAIL.findall(body[:20_000].decode("utf-8", errors="replace")),
        *_people_in(json_of(body)),
    ):
        story.people[person.lower()] = min(at, story.people.get(person.lower(), at))


def _people_in(value: Any, depth: int = 0) -> Iterator[str]:
    if depth > 8:
        return
    if isinstance(value, list):
        for item in value[:100]:
            yield from _people_in(item, depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in _PERSON and isinstance(item, str | int) and item:
                yield str(item)
            elif name == "profile" and isinstance(item, dict) and isinstance(item.get("id"), str):
                yield item["id"]
                yield from _people_in(item, depth + 1)
            else:
                yield from _people_in(item, depth + 1)
