"""Warnings about a rendered body, before it is sent to anybody. It refuses no body, and shows no value.

It renders the template again with a context that differs in one respect. If a yes becomes a no, it sees which values
are booleans printed as text; with other ids, it sees whether `unique_id` changes with them. It stops after a second,
however slow the template is.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from deploy.targets.bodies import (
    Path,
    all_different,
    at,
    below_properties,
    inside,
    name_of,
    paths,
    turned_round,
)
from deploy.targets.catalogue import EXTENSION, Channel, Notification, Platform
from deploy.targets.shapes import misfits
from deploy.targets.trying import NoJsonError, TemplateFailedError, is_called, rendered
from shared.errors import InvalidPayloadError
from shared.metrics.rules.event import PROPERTIES
from shared.metrics.rules.track import from_track
from shared.values import lacks_a_part, read_id, read_number
from shared.values.emails import read_email

MOST_BOOLEANS = 30  # each costs one more rendering
SECONDS = 1.0  # in which renderings may begin
# Longer than a count or an amount: an order or a card, which nobody compares by size.
_LONGEST_NUMBER = 12

Json = dict[str, Any]


@dataclass(frozen=True)
class Warned:
    """Something to look at: `about` is the subject in a word or two, `says` gives the damage and the remedy."""

    about: str
    says: str


def warnings(
    template: str,
    context: Json,
    platform: Platform,
    notification: Notification,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> list[Warned]:
    """Return the warnings about a template, tried with an event context; none if the rendered text is not JSON.

    Raises:
        NoJsonError, TemplateFailedError: it becomes none, and says why itself.
    """
    end = clock() + SECONDS
    body = json.loads(rendered(template, context))
    again = _Again(template, lambda: clock() < end)
    found = [*_consent(context, platform, notification), *_booleans(again, context, body)]
    if platform.name != EXTENSION:
        return [*found, *_shape(platform, body)]
    event = event_in(body)
    printed = {warned.about for warned in found}
    numbers = [warned for warned in _numbers(event) if warned.about not in printed]
    return [
        *_person(event),
        *found,
        *numbers,
        *_unique_id(again, context, event),
        *_properties(event, with_token="withToken" in notification.query),
    ]


class _Again:
    """A template that is rendered again with other contexts, as long as there is time."""

    def __init__(self, template: str, has_time: Callable[[], bool]) -> None:
        self.template = template
        self._has_time = has_time

    def __call__(self, context: Json) -> Any:
        """Return the body, None if there is no telling.

        Raises:
            NoJsonError: there is none.
        """
        if not self._has_time():
            return None
        try:
            return json.loads(rendered(self.template, context))
        except TemplateFailedError:
            return None  # the template may fail on the made-up values


def event_in(body: object) -> Json:
    """Return the attributes of the event in a body of the metric target, in any of its forms; empty if there is none."""
    if not isinstance(body, dict):
        return {}
    resource = body.get("data", body)
    if isinstance(resource, dict) and isinstance(attributes := resource.get("attributes"), dict):
        return attributes
    if "event" in body or "customer_properties" in body:
        try:
            return from_track(body)
        except InvalidPayloadError:
            return {}
    profile = body.get("profile")
    if not isinstance(profile, dict):
        return {}
    rest = {name: value for name, value in body.items() if name not in ("profile", "unique_id", "time")}
    person = {"id": profile.get("id"), "attributes": {"email": profile.get("email")}}
    return {"profile": {"data": person}, "properties": rest, "unique_id": body.get("unique_id")}


# The person of the event


def _person(event: Json) -> Iterator[Warned]:
    data = inside(event, "profile", "data")
    attributes = inside(data, "attributes")
    if read_email(attributes.get("email")):
        return
    if any(read_id(value) for value in (data.get("id"), attributes.get("external_id"))):
        yield Warned(
            "No email",
            "Klaviyo knows the person by the id alone, and can email them only if it has their address.",
        )
    else:
        yield Warned(
            "No email or id",
            "Nobody is meant: the extension refuses the call. Write the profile's email, or its id.",
        )


def _consent(context: Json, platform: Platform, notification: Notification) -> Iterator[Warned]:
    profile = inside(context, notification.profile) if notification.profile else context
    comms = inside(profile, "attributes", "comms")
    channel = "email" if platform.channel is Channel.EMAIL else "SMS"
    for flag, refused, says in (
        ("optout", True, f"The profile has opted out of {channel}."),
        ("promo", False, f"The profile did not agree to {channel}."),
        ("bounced", True, f"The profile's {channel} has bounced."),
    ):
        if comms.get(f"{platform.channel}_{flag}") is refused:
            yield Warned(
                "Opted out",
                f"{says} Omneo's condition stops the call, and Klaviyo sends no marketing to them.",
            )
    try:
        if not is_called(notification.condition(platform), context):
            yield Warned(
                "Not called",
                "With this event context Omneo would not call the target: its condition does not hold.",
            )
    except NoJsonError as error:
        yield Warned("Condition", str(error))


# Its properties


def _booleans(again: _Again, context: Json, body: object) -> Iterator[Warned]:
    """Yield the booleans of the context that are printed as text: they are found by saying the opposite."""
    for path in islice(_yes_or_no(again.template, context), MOST_BOOLEANS):
        name = name_of(path)
        try:
            other = again(turned_round(context, path))
        except NoJsonError:
            yield Warned(
                name,
                f"The boolean {name} is printed as it is: of true and false one leaves no JSON. Write it with |json_encode.",
            )
            continue
        for place in paths(body, lambda value: value in ("1", "")):
            if {at(body, place), _text(at(other, place))} == {"1", ""}:
                yield Warned(
                    name_of(below_properties(place)),
                    f'The boolean {name} is printed as "1", or as nothing: a flow filter on true or false fails. Write it with'
                    " |json_encode, without quotes around.",
                )


def _yes_or_no(template: str, context: Json) -> list[Path]:
    """Return the paths of all booleans, those that the template names first.

    A consent that was never decided is null.
    """
    found = list(paths(context, lambda value: isinstance(value, bool)))
    undecided = [path for path in paths(context, lambda value: value is None) if "comms" in path[:-1]]
    return sorted(found + undecided, key=lambda path: str(path[-1]) not in template)


def _numbers(event: Json) -> Iterator[Warned]:
    for name, value in inside(event, "properties").items():
        if isinstance(value, str) and _is_written_number(value):
            yield Warned(
                name,
                f"{name} is a number as text: a flow filter such as “is greater than” fails on it. Write it without quotes: + 0 makes a number"
                " of a text, and |json_encode prints it.",
            )


def _is_written_number(text: str) -> bool:
    plain = text.strip()
    if len(plain) > _LONGEST_NUMBER or plain.startswith("+") or re.match(r"0\d", plain):
        return False  # a phone number, a postcode, the number of a card
    return read_number(plain) is not None


def _unique_id(again: _Again, context: Json, event: Json) -> Iterator[Warned]:
    about = "unique_id"
    id = read_id(event.get("unique_id"))
    if not id:
        yield Warned(
            about,
            "unique_id is missing: when Omneo repeats a call, Klaviyo keeps two events, and the message goes out twice.",
        )
    elif lacks_a_part(id):
        yield Warned(
            about,
            "unique_id is only its fixed part: the extension refuses the call, since Klaviyo would keep one event of all.",
        )
    elif _is_fixed(again, context, id):
        yield Warned(
            about,
            "unique_id is only its fixed part, the same whatever happens: Klaviyo keeps one such event for each person, ever."
            " Add what differs, such as {{ id }}.",
        )


def _is_fixed(again: _Again, context: Json, id: str) -> bool:
    """Return whether `unique_id` stays although all that an event context says is different."""
    try:
        other = again(all_different(context))
    except NoJsonError:
        return False
    return other is not None and read_id(event_in(other).get("unique_id")) == id


def _properties(event: Json, *, with_token: bool) -> Iterator[Warned]:
    properties = inside(event, "properties")
    most = PROPERTIES - (2 if with_token else 0)
    if len(properties) > most:
        yield Warned(
            "properties",
            f"Over {most} properties, {len(properties)}: Klaviyo takes no more, and the extension refuses the call.",
        )
    for name, value in properties.items():
        items = value if isinstance(value, list) else [value]
        if any(isinstance(item, dict | list) for item in items):
            yield Warned(
                name,
                f"{name} is nested: a flow cannot filter on what is inside it. Write what a filter needs as a property of its own.",
            )


def _shape(platform: Platform, body: object) -> list[Warned]:
    return [
        Warned(said.partition(":")[0], f"{platform.title} does not take {said}.")
        for said in misfits(platform.name, body)
    ]


def _text(value: object) -> str | None:
    """Return a text, None for all else."""
    return value if isinstance(value, str) else None
