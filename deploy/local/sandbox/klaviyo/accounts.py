"""The content of one Klaviyo account: profiles, events, lists, data sources, their records, and webhooks. No HTTP, no credentials, no limits.

Klaviyo's pages "Create Event" (one event for each profile, metric and unique_id; without a unique_id the time in
seconds takes its place) and "Create or Update Profile" (null clears, absent leaves, properties merge by key).

Assumed (unknown-id-is-404, order-of-identifiers, emails-have-no-case, writes-move-updated, apps-own-metrics):
- An event, or a row of an import, with the id of no profile is refused; only a test can choose the id of a profile.
- The order in which identifiers are tried is email, phone_number, external_id, anonymous_id, _kx, after the id. An
  identifier that belongs to another profile stays there; one that was replaced no longer finds its profile.
- Emails are compared without regard to case.
- Null clears an attribute in an event's profile as it does in a profile, but there it leaves an identifier alone.
- Every write through the API moves a profile's `updated`, an event's too; a change of consent does not.
- A metric of an app's own has another id than Klaviyo's metric of the same name.
- `meta.patch_properties` runs after the properties are merged; `patch_identifiers` is recorded and has no effect.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deploy.local.sandbox.klaviyo.attributes import merge, patch
from deploy.local.sandbox.klaviyo.data_sources import DataSource
from deploy.local.sandbox.klaviyo.event_resources import Event
from deploy.local.sandbox.klaviyo.events import IDENTIFIERS, parse_time
from deploy.local.sandbox.klaviyo.lists import SINGLE, MarketingList
from deploy.local.sandbox.klaviyo.parcels import Parcels
from deploy.local.sandbox.klaviyo.records import Record
from deploy.local.sandbox.klaviyo.subscriptions import Method, Subscriptions
from deploy.local.sandbox.klaviyo.topics import TOPICS
from deploy.local.sandbox.klaviyo.webhooks import Webhook
from deploy.local.sandbox.stage.clock import Clock
from deploy.local.sandbox.stage.identifiers import Identifiers
from deploy.local.sandbox.stage.schedule import Schedule

# From this revision on `meta` stands beside the profile's attributes instead of among them.
META_MOVED = "2026-10-15"


@dataclass(frozen=True)
class Details:
    """The account's own data, as its owner has set them.

    `default_opt_in` is the opt-in of people who subscribe without a list: `single_opt_in` or `double_opt_in`.
    """

    organization_name: str = "Sandbox Store"
    timezone: str = "Australia/Melbourne"
    currency: str = "AUD"
    country: str = "Australia"
    locale: str = "en-AU"
    default_opt_in: str = SINGLE


@dataclass
class Profile:
    """A profile: identifiers and standard attributes in `attributes`, custom ones in `properties`.

    `memberships` are the lists it is on, by id, and since when, in Unix seconds.
    """

    id: str
    created_at: float
    attributes: dict[str, Any] = field(default_factory=dict, repr=False)
    properties: dict[str, Any] = field(default_factory=dict, repr=False)
    updated_at: float = 0.0
    last_event_at: float | None = None
    subscriptions: Subscriptions = field(default_factory=Subscriptions)
    memberships: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Wish:
    """Somebody's wish to be subscribed to a channel, and to a list if there is a `list_id`."""

    channel: str
    list_id: str | None = None
    method: Method = field(default_factory=Method)


class Account:
    """One account's data. Callers hold the lock of the service."""

    def __init__(self, id: str, clock: Clock, identifiers: Identifiers) -> None:
        self.id = id
        self.details = Details()
        self.topics = list(TOPICS)
        self.data_sources: dict[str, DataSource] = {}
        self.records: list[Record] = []  # those of a data source that was deleted stay
        self.webhooks: dict[str, Webhook] = {}
        self.profiles: dict[str, Profile] = {}
        self.events: list[Event] = []
        self.outbox: list[Event] = []  # events with a topic that no webhook has been sent yet
        self.parcels = Parcels()
        self.metric_ids: dict[str, str] = {}
        self.custom_metric_ids: dict[str, str] = {}
        self.lists: dict[str, MarketingList] = {}
        self.unconfirmed: dict[
            str, list[Wish]
        ] = {}  # by profile, the subscriptions that wait for double opt-in
        self.jobs: dict[str, Any] = {}
        self.created_at = clock()
        self.schedule = Schedule(clock)
        self._merged: dict[str, tuple[str, float]] = {}  # source: destination, and until when it is found
        self._clock = clock
        self.identifiers = identifiers
        self._recorded: set[tuple[str, str, str]] = set()
        self._owners: dict[tuple[str, str], str] = {}
        self._places: dict[str, int] = {}  # by profile, which of all that there ever were it is
        self._numbers = itertools.count()

    def create_event(
        self, attributes: Mapping[str, Any], *, revision: str, repeats: bool = False
    ) -> Event | None:
        """Apply an acceptable event: update its profile, then record it. None if it was recorded before, unless it `repeats`."""
        now = self._clock()
        profile = self.apply_profile(attributes["profile"]["data"], revision=revision)
        time = _time_of(attributes, now)
        key = profile.id, *_named(attributes, now)
        if key in self._recorded and not repeats:
            return None
        self._recorded.add(key)
        _, metric, unique_id = key
        self.metric_id(metric, is_custom=True)
        event = Event(
            id=self.identifiers.uuid(),
            profile_id=profile.id,
            metric=metric,
            unique_id=unique_id,
            time=time,
            received_at=now,
            revision=revision,
            properties=attributes["properties"],
            value=attributes.get("value"),
            value_currency=attributes.get("value_currency"),
            backfill=bool(attributes.get("backfill")),
            sent=attributes,
        )
        self._keep(event)
        return event

    def key_of(self, attributes: Mapping[str, Any]) -> tuple[str, str, str]:
        """Return the key under which two events are one: metric, unique_id, and the profile's id, or an identifier if the profile does not exist yet."""
        data = attributes["profile"]["data"]
        given = data["attributes"]
        found = self.find(data.get("id"), given)
        new = ("\0".join(_owner_key(name, given[name])) for name in IDENTIFIERS if given.get(name))
        return found.id if found else next(new), *_named(attributes, self._clock())

    def is_recorded(self, key: tuple[str, str, str]) -> bool:
        """Return whether there is or was an event like this."""
        return key in self._recorded

    def record(
        self,
        topic: str,
        metric: str,
        profile_id: str,
        properties: Mapping[str, Any],
        *,
        at: float | None = None,
    ) -> Event:
        """Record an event of Klaviyo's own, such as "Unsubscribed from Email Marketing", for webhooks to be sent."""
        now = self._clock()
        event = Event(
            id=self.identifiers.event_id(),
            profile_id=profile_id,
            metric=metric,
            unique_id="",
            time=float(int(now if at is None else at)),
            received_at=now,
            revision="",
            properties=properties,
            topic=topic,
        )
        self._keep(event)
        self.outbox.append(event)
        return event

    def _keep(self, event: Event) -> None:
        self.events.append(event)
        profile = self.profiles.get(event.profile_id)
        if profile is not None:
            profile.last_event_at = max(event.time, profile.last_event_at or event.time)

    def metric_id(self, metric: str, *, is_custom: bool = False) -> str:
        """Return the id of Klaviyo's metric of this name, or of an app's own."""
        ids = self.custom_metric_ids if is_custom else self.metric_ids
        if metric not in ids:
            ids[metric] = self.identifiers.short_id()
        return ids[metric]

    def now(self) -> float:
        """Return Unix seconds."""
        return self._clock()

    def profile(self, id: str) -> Profile | None:
        """Return the profile of this id, or the profile into which it was merged a while ago."""
        if id in self.profiles:
            return self.profiles[id]
        destination, until = self._merged.get(id, ("", 0.0))
        return self.profile(destination) if self._clock() < until else None

    def owner(self, name: str, value: object) -> Profile | None:
        """Return the profile that an identifier belongs to."""
        owner = self._owners.get(_owner_key(name, value))
        return self.profiles[owner] if owner else None

    def having(self, name: str, values: Iterable[str]) -> list[Profile]:
        """Return the profiles whose id (`name` is "id") or identifier is one of the values, oldest first."""
        by_id = name == "id"
        found = (self.profiles.get(value) if by_id else self.owner(name, value) for value in values)
        each = {profile.id: profile for profile in found if profile is not None}
        return sorted(each.values(), key=lambda profile: self._places[profile.id])

    def forget(self, profile: Profile) -> None:
        """Remove a profile, its identifiers and its events."""
        for name in IDENTIFIERS:
            if self.owner(name, profile.attributes.get(name)) is profile:
                del self._owners[_owner_key(name, profile.attributes[name])]
        del self.profiles[profile.id], self._places[profile.id]
        self.unconfirmed.pop(profile.id, None)
        self.events = [event for event in self.events if event.profile_id != profile.id]

    def redirect(self, source: Profile, destination: Profile, *, until: float) -> None:
        """Give a profile's identifiers, where there is room, and its events to another, and let its id find it."""
        theirs = [event for event in self.events if event.profile_id == source.id]
        moved = {event.id: replace(event, profile_id=destination.id) for event in theirs}
        self._recorded |= {(destination.id, event.metric, event.unique_id) for event in theirs}
        self.events = [moved.get(event.id, event) for event in self.events]
        self.forget(source)
        times = (destination.last_event_at, source.last_event_at)
        destination.last_event_at = max((time for time in times if time is not None), default=None)
        missing = {
            name: source.attributes.get(name) for name in IDENTIFIERS if name not in destination.attributes
        }
        self._identify(destination, missing)
        self._merged[source.id] = (destination.id, until)

    def apply_profile(
        self, data: Mapping[str, Any], *, revision: str, clears_identifiers: bool = False
    ) -> Profile:
        """Find or create the profile that `data` means, write its attributes to it, and return it."""
        attributes = dict(data.get("attributes") or {})
        meta = data.get("meta") if revision >= META_MOVED else attributes.pop("meta", None)
        profile = self.find(data.get("id"), attributes) or self._create(data.get("id"))
        profile.updated_at = self._clock()
        self._identify(profile, attributes)
        if clears_identifiers:
            self._clear(profile, [name for name in IDENTIFIERS if attributes.get(name, "") is None])
        for name, value in attributes.items():
            if name == "properties":
                profile.properties.update(value or {})
            elif name == "location":
                merge(profile.attributes.setdefault("location", {}), value or {})
            elif name not in IDENTIFIERS:
                merge(profile.attributes, {name: value})
        patch(profile.properties, (meta or {}).get("patch_properties") or {})
        return profile

    def find(self, id: str | None, attributes: Mapping[str, Any]) -> Profile | None:
        """Return the profile of this id or, without one, of the first identifier that belongs to any."""
        if id:
            return self.profile(id)
        owners = (self.owner(name, attributes.get(name)) for name in IDENTIFIERS)
        return next((owner for owner in owners if owner), None)

    def _create(self, id: str | None) -> Profile:
        profile = Profile(id or self.identifiers.ulid(), self._clock())
        self.profiles[profile.id] = profile
        self._places[profile.id] = next(self._numbers)
        return profile

    def _identify(self, profile: Profile, attributes: Mapping[str, Any]) -> None:
        for name in IDENTIFIERS:
            value = attributes.get(name)
            if not value or self._owners.setdefault(_owner_key(name, value), profile.id) != profile.id:
                continue
            if _owner_key(name, profile.attributes.get(name)) != _owner_key(name, value):
                self._clear(profile, [name])
            profile.attributes[name] = value

    def _clear(self, profile: Profile, names: Iterable[str]) -> None:
        for name in names:
            if former := profile.attributes.pop(name, None):
                del self._owners[_owner_key(name, former)]


def _time_of(attributes: Mapping[str, Any], now: float) -> float:
    sent = attributes.get("time")
    return float(int(now)) if sent is None else (parse_time(sent) or 0.0)


def _named(attributes: Mapping[str, Any], now: float) -> tuple[str, str]:
    metric = str(attributes["metric"]["data"]["attributes"]["name"])
    return metric, attributes.get("unique_id") or str(int(_time_of(attributes, now)))


def _owner_key(name: str, value: object) -> tuple[str, str]:
    text = str(value or "")
    return name, text.casefold() if name == "email" else text
