"""Tries the assumptions about Klaviyo's consent: its jobs, their stamps and marks, and the events that they leave.

A run subscribes and unsubscribes one profile once, for all checks. Nobody gets a message: the list has single opt-in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from deploy.rehearsal import made
from deploy.rehearsal.assumption import Answer, fails, holds, judged, untried
from deploy.rehearsal.stage import Person, Stage
from shared.consent.rules.decisions import MARKER, TWINS
from shared.consent.rules.delivery import PREFIX, read_event
from shared.consent.rules.memory import LANDING
from shared.consent_events import Consent, SystemEvent
from shared.klaviyo.consent_jobs import Person as Asked
from shared.klaviyo.resources import SYSTEM_TOPICS

SUBSCRIBED_WITHIN = 300.0
_APART = timedelta(seconds=5)  # by which our clock and Klaviyo's may differ
_SAME_ACT = timedelta(minutes=1)
_KLAVIYO = "klaviyo"
_SUBSCRIBED, _UNSUBSCRIBED = "subscribed_to_email_marketing", "unsubscribed_from_email_marketing"
_BOUNCED = "bounced_email"
_NOT_LANDED = "the profile was not subscribed within five minutes"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Landed:
    """A consent job that has landed: when it was requested and seen, and the profile's state of the channel."""

    person: Person
    asked_at: datetime
    seen_at: datetime
    marketing: Row

    @property
    def stamp(self) -> datetime | None:
        """The consent's own time."""
        return _time(self.marketing.get("consent_timestamp"))


def subscribe_and_wait(stage: Stage, person: Person) -> Landed | None:
    """Subscribe a profile as the extension does, on a list with single opt-in; None if that was not seen in time."""
    list_id = stage.once("list", lambda: _made_list(stage))
    asked_at = stage.now()
    stage.klaviyo.subscribe(Asked(person.id, person.email), [Consent.EMAIL], list_id=list_id)
    return _landed(stage, person, "SUBSCRIBED", asked_at)


def lands_within_three_minutes(stage: Stage) -> Answer:
    """Subscribe a profile, and look how long it takes."""
    landed = _subscribed(stage)
    if landed is None:
        return fails(_NOT_LANDED)
    seconds = (landed.seen_at - landed.asked_at).total_seconds()
    stage.saw("seconds until the profile was subscribed", seconds)
    return judged(seconds <= LANDING.total_seconds(), "it took longer than three minutes")


def stamped_when_it_lands(stage: Stage) -> Answer:
    """Compare the stamp of a consent with the time in which it landed."""
    landed = _subscribed(stage)
    if landed is None:
        return untried(_NOT_LANDED)
    if landed.stamp is None:
        return fails("the consent has no time that can be read")
    stage.saw("seconds from the call to the stamp", (landed.stamp - landed.asked_at).total_seconds())
    is_so = landed.asked_at - _APART <= landed.stamp <= landed.seen_at + _APART
    return judged(is_so, "the stamp is not from the time between the call and its landing")


def profile_bears_mark(stage: Stage) -> Answer:
    """Look for `custom_source` on the profile that was subscribed with it."""
    landed = _subscribed(stage)
    if landed is None:
        return untried(_NOT_LANDED)
    stage.saw_names("fields of the consent", [*landed.marketing])
    is_so = str(landed.marketing.get("custom_method_detail")).casefold() == MARKER
    return judged(is_so, "`custom_method_detail` does not hold the mark")


def event_names_its_profile(stage: Stage) -> Answer:
    """Read the event that subscribing has left."""
    landed = _subscribed(stage)
    if landed is None:
        return untried(_NOT_LANDED)
    row = _event(stage, landed.person, _SUBSCRIBED)
    if row is None:
        return untried("no event of the subscribing was seen within five minutes")
    _show(stage, row)
    event = _read(stage, _SUBSCRIBED, row)
    if event is None or event.profile != landed.person.id:
        return fails("the event does not name its profile by id, or has no time that can be read")
    stage.saw("the event bears the mark", event.method == MARKER)
    return holds()


def event_is_near_its_consent(stage: Stage) -> Answer:
    """Compare the time of the event with that of the consent."""
    landed = _subscribed(stage)
    row = None if landed is None else _event(stage, landed.person, _SUBSCRIBED)
    event = None if row is None else _read(stage, _SUBSCRIBED, row)
    if landed is None or event is None or landed.stamp is None:
        return untried("there is no event, or no consent, with a time that can be read")
    apart = abs(event.at - landed.stamp)
    stage.saw("seconds between the event and the consent", apart.total_seconds())
    return judged(apart <= _SAME_ACT, "they are more than a minute apart")


def unsubscribe_bears_no_mark(stage: Stage) -> Answer:
    """Unsubscribe the profile, and read the event."""
    landed = _subscribed(stage)
    if landed is None:
        return untried(_NOT_LANDED)
    person, asked_at = landed.person, stage.now()
    stage.klaviyo.unsubscribe(Asked(person.id, person.email), [Consent.EMAIL])
    gone = _landed(stage, person, "UNSUBSCRIBED", asked_at)
    if gone is None:
        return untried("the profile was not unsubscribed within five minutes")
    stage.saw("seconds until it was unsubscribed", (gone.seen_at - gone.asked_at).total_seconds())
    stage.saw(
        "the profile still bears the mark",
        str(gone.marketing.get("custom_method_detail")).casefold() == MARKER,
    )
    row = _event(stage, person, _UNSUBSCRIBED)
    event = None if row is None else _read(stage, _UNSUBSCRIBED, row)
    if row is None or event is None:
        return untried("no event of the unsubscribing was seen within five minutes")
    _show(stage, row)
    return judged(event.method != MARKER, "the event of an unsubscribe of ours bears the mark")


def bounce_says_its_kind(stage: Stage) -> Answer:
    """Read the newest bounces that the account has recorded."""
    metric = _metric_ids(stage).get(_BOUNCED)
    rows = stage.klaviyo.newest_events(metric) if metric else []
    if not rows:
        return untried(
            "the account has recorded no bounce. Send a campaign to an address that does not exist, and try again"
        )
    for row in rows[:20]:
        _show(stage, row)
        event = _read(stage, _BOUNCED, row)
        if event is not None and event.bounce:
            stage.saw("kind", event.bounce)
            return holds()
    return fails("no bounce says whether it is hard or soft in a property that is read")


def twins_have_one_second(stage: Stage) -> Answer:
    """Compare the newest events of the two topics of one SMS act, profile by profile."""
    ids = _metric_ids(stage)
    apart: list[float] = []
    for newer, older in TWINS.items():
        if newer in ids and older in ids:
            pair = [stage.klaviyo.newest_events(ids[name]) for name in (newer, older)]
            apart += _apart(*pair)
    if not apart:
        return untried(
            "the account has recorded no SMS act under two topics. Subscribe a number by a form, and try again"
        )
    stage.saw("acts under two topics", len(apart))
    stage.saw("most seconds apart", max(apart))
    return judged(not any(apart), "the two events of one act have different seconds")


def metrics_are_named_by_topics(stage: Stage) -> Answer:
    """Look for the metric of each topic that the extension hears, and the account offers."""
    wanted = {topic.removeprefix(PREFIX) for topic in stage.klaviyo.webhook_topics() & SYSTEM_TOPICS}
    missing = wanted - _metric_ids(stage).keys()
    stage.saw("topics offered", len(wanted))
    if not wanted:
        return untried("the account offers none of the topics")
    stage.saw_names("topics without a metric", sorted(missing))
    if missing == wanted:
        return fails("no metric of the integration Klaviyo has a topic's words for its name")
    # A metric may come into being with its first event, so one that is missing refutes nothing.
    return holds("" if not missing else "some topics have no metric yet")


def _made_list(stage: Stage) -> str:
    return str(stage.klaviyo.create_list(stage.note(made.LIST, stage.name("list")))["id"])


def _subscribed(stage: Stage) -> Landed | None:
    return stage.once("subscribed", lambda: subscribe_and_wait(stage, stage.person("consent")))


def _landed(stage: Stage, person: Person, wanted: str, asked_at: datetime) -> Landed | None:
    def look() -> Row | None:
        attributes = stage.klaviyo.profile_row(person.id)["attributes"]
        marketing: Row = attributes["subscriptions"]["email"]["marketing"]
        return marketing if marketing["consent"] == wanted else None

    found = stage.until(look, within=SUBSCRIBED_WITHIN)
    return None if found is None else Landed(person, asked_at, stage.now(), found[0])


def _metric_ids(stage: Stage) -> dict[str, str]:
    """Return the ids of Klaviyo's own metrics by their topics."""
    return {
        metric.name.lower().replace(" ", "_"): metric.id
        for metric in stage.klaviyo.metrics()
        if metric.integration.casefold() == _KLAVIYO
    }


def _event(stage: Stage, person: Person, topic: str) -> Row | None:
    metric = _metric_ids(stage).get(topic)
    found = stage.until(
        lambda: next((row for row in stage.klaviyo.events_of(person.id) if _metric_of(row) == metric), None),
        within=SUBSCRIBED_WITHIN,
    )
    return None if found is None else found[0]


def _read(stage: Stage, topic: str, row: Row) -> SystemEvent | None:
    return read_event(topic, row, id=str(row.get("id") or ""), now=stage.now() + _APART)


def _show(stage: Stage, row: Row) -> None:
    attributes = row.get("attributes") or {}
    stage.saw_names("fields of the event", [*attributes])
    stage.saw_names("properties of the event", [*(attributes.get("event_properties") or {})])
    stage.saw_names("relationships of the event", [*(row.get("relationships") or {})])


def _apart(newer: list[Row], older: list[Row]) -> list[float]:
    """Return the seconds between the events of one act, for each act under both topics."""
    found = []
    for row in newer:
        at, profile = _at(row), _profile_of(row)
        others = [abs(_at(other) - at) for other in older if _profile_of(other) == profile]
        if others and min(others) <= _SAME_ACT.total_seconds():
            found.append(min(others))
    return found


def _at(row: Row) -> float:
    return float((row.get("attributes") or {}).get("timestamp") or 0)


def _profile_of(row: Row) -> object:
    return _related(row, "profile")


def _metric_of(row: Row) -> object:
    return _related(row, "metric")


def _related(row: Row, name: str) -> object:
    related = (row.get("relationships") or {}).get(name) or {}
    return (related.get("data") or {}).get("id")


def _time(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo else None
