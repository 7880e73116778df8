"""What one Klaviyo account holds: profiles, events, data sources, their records, and webhooks. No HTTP, no credentials, no limits.

Klaviyo's pages "Create Event" (one event for each profile, metric and unique_id; without a unique_id the time in
seconds takes its place) and "Create or Update Profile" (null clears, absent leaves, properties merge by key).

Assumed:
- An event whose profile id is unknown is accepted, and a profile with that id comes into being.
- The order in which identifiers are tried is email, phone_number, external_id, anonymous_id, _kx, after the id. An
  identifier that belongs to another profile stays there; one that was replaced no longer finds its profile.
- Emails are compared without regard to case.
- Null clears an attribute in an event's profile as it does in a profile; a null identifier is left alone.
- `meta.patch_properties` runs after the properties are merged; `patch_identifiers` is recorded and has no effect.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.local.sandbox.clock import Clock
from deploy.local.sandbox.identifiers import Identifiers
from deploy.local.sandbox.klaviyo_data_sources import DataSource
from deploy.local.sandbox.klaviyo_events import IDENTIFIERS, parse_time
from deploy.local.sandbox.klaviyo_parcels import Parcels
from deploy.local.sandbox.klaviyo_records import Record
from deploy.local.sandbox.klaviyo_topics import TOPICS
from deploy.local.sandbox.klaviyo_webhooks import Webhook

# From this revision on `meta` stands beside the profile's attributes instead of among them.
META_MOVED = "2026-10-15"


@dataclass(frozen=True)
class Details:
    """What an account says of itself, as its owner has set it."""

    organization_name: str = "Sandbox Store"
    timezone: str = "Australia/Melbourne"
    currency: str = "AUD"
    country: str = "Australia"
    locale: str = "en-AU"


@dataclass
class Profile:
    """A profile: identifiers and standard attributes in `attributes`, custom ones in `properties`."""

    id: str
    created_at: float
    attributes: dict[str, Any] = field(default_factory=dict, repr=False)
    properties: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Event:
    """An event that was recorded, which a repeated unique_id is not. Times are Unix seconds.

    `sent` is `data.attributes` as it came. `topic` is the webhook topic of an event that Klaviyo itself records, "" for others.
    """

    id: str
    profile_id: str
    metric: str
    unique_id: str
    time: float
    received_at: float
    revision: str
    properties: Mapping[str, Any] = field(repr=False)
    value: float | None = None
    value_currency: str | None = None
    backfill: bool = False
    sent: Mapping[str, Any] = field(default_factory=dict, repr=False)
    topic: str = ""


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
        self._clock = clock
        self.identifiers = identifiers
        self._recorded: set[tuple[str, str, str]] = set()
        self._owners: dict[tuple[str, str], str] = {}

    def create_event(self, attributes: Mapping[str, Any], *, revision: str) -> Event | None:
        """Apply an acceptable event: update its profile, then record it. None if it was recorded before."""
        now = self._clock()
        profile = self.apply_profile(attributes["profile"]["data"], revision=revision)
        sent_time = attributes.get("time")
        time = float(int(now)) if sent_time is None else (parse_time(sent_time) or 0.0)
        metric = attributes["metric"]["data"]["attributes"]["name"]
        unique_id = attributes.get("unique_id") or str(int(time))
        if (key := (profile.id, metric, unique_id)) in self._recorded:
            return None
        self._recorded.add(key)
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
        self.events.append(event)
        return event

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
        self.events.append(event)
        self.outbox.append(event)
        return event

    def metric_id(self, metric: str) -> str:
        """Return the id of the account's metric of this name."""
        return self.metric_ids.setdefault(metric, self.identifiers.short_id())

    def apply_profile(self, data: Mapping[str, Any], *, revision: str) -> Profile:
        """Find or create the profile that `data` means, write its attributes to it, and return it."""
        attributes = dict(data.get("attributes") or {})
        meta = data.get("meta") if revision >= META_MOVED else attributes.pop("meta", None)
        profile = self._find(data.get("id"), attributes) or self._create(data.get("id"))
        self._identify(profile, attributes)
        for name, value in attributes.items():
            if name == "properties":
                profile.properties.update(value or {})
            elif name == "location":
                _merge(profile.attributes.setdefault("location", {}), value or {})
            elif name not in IDENTIFIERS:
                _merge(profile.attributes, {name: value})
        _patch(profile.properties, (meta or {}).get("patch_properties") or {})
        return profile

    def _find(self, id: str | None, attributes: Mapping[str, Any]) -> Profile | None:
        if id:
            return self.profiles.get(id)
        owners = (self._owners.get(_owner_key(name, attributes.get(name))) for name in IDENTIFIERS)
        return next((self.profiles[owner] for owner in owners if owner), None)

    def _create(self, id: str | None) -> Profile:
        profile = Profile(id or self.identifiers.ulid(), self._clock())
        self.profiles[profile.id] = profile
        return profile

    def _identify(self, profile: Profile, attributes: Mapping[str, Any]) -> None:
        for name in IDENTIFIERS:
            value = attributes.get(name)
            if not value or self._owners.setdefault(_owner_key(name, value), profile.id) != profile.id:
                continue
            former = profile.attributes.get(name)
            if former and _owner_key(name, former) != _owner_key(name, value):
                del self._owners[_owner_key(name, former)]
            profile.attributes[name] = value


def _owner_key(name: str, value: object) -> tuple[str, str]:
    text = str(value or "")
    return name, text.casefold() if name == "email" else text


def _merge(into: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        if value is None:
            into.pop(name, None)
        else:
            into[name] = value


def _patch(properties: dict[str, Any], patch: Mapping[str, Any]) -> None:
    for name, value in (patch.get("append") or {}).items():
        properties[name] = [*_listed(properties.get(name)), *_listed(value)]
    for name, value in (patch.get("unappend") or {}).items():
        properties[name] = [item for item in _listed(properties.get(name)) if item not in _listed(value)]
    for name in _listed(patch.get("unset")):
        properties.pop(name, None)


def _listed(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
