"""The meaning of Klaviyo's consent events for an Omneo profile: the consent table, what each decision writes, and how Omneo's fields are read.

Pure: the event, Klaviyo's profile as it is now, and Omneo's profile arrive as arguments. `memory.py` decides what many events and calls mean
together.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal

from shared.consent_events import Channel, Decision, Direction, SystemEvent

# Who asked for a consent, as Klaviyo keeps it; ours in any case is the mark of our own calls.
MARKER = "omneo"
# Klaviyo writes a consent and its event within moments; an event this much older than the consent that carries our mark is another act.
_SAME_ACT = timedelta(seconds=10)
# An event this near to a consent that carries another mark, or none, is surely that one's.
_SAME_MOMENT = timedelta(seconds=2)
_BOUNCES = frozenset({"HARD_BOUNCE", "INVALID_EMAIL"})


class If(StrEnum):
    """A further condition of a row; otherwise its event decides nothing."""

    ALWAYS = "always"
    SUBSCRIBED_NOW = "Klaviyo's profile now says SUBSCRIBED"
    HARD = "the event says hard, or Klaviyo's profile now lists HARD_BOUNCE or INVALID_EMAIL"


@dataclass(frozen=True)
class Row:
    """A row of the consent table. `otherwise` is the signal when the condition is not met."""

    channel: Channel
    decision: Decision
    signal: int
    condition: If = If.ALWAYS
    otherwise: int = 0


EMAIL, SMS = Channel.EMAIL, Channel.SMS
OPT_IN, OPT_OUT, BOUNCED, NONE = Decision.OPT_IN, Decision.OPT_OUT, Decision.BOUNCED, Decision.NONE

# Klaviyo's page "Working with system webhooks" for the topics, Omneo's page "System webhooks" for what they write.
TABLE: Mapping[str, Row] = MappingProxyType(
    {
        "subscribed_to_email_marketing": Row(EMAIL, OPT_IN, 1),
        "subscribed_to_list": Row(EMAIL, OPT_IN, 1, If.SUBSCRIBED_NOW, otherwise=1),
        "unsubscribed_from_email_marketing": Row(EMAIL, OPT_OUT, -1),
        "unsubscribed_from_list": Row(EMAIL, NONE, 0),
        "bounced_email": Row(EMAIL, BOUNCED, -1, If.HARD),
        "dropped_email": Row(EMAIL, NONE, 0),
        "marked_email_as_spam": Row(EMAIL, OPT_OUT, -1),
        "manually_suppressed_from_email_marketing": Row(EMAIL, OPT_OUT, -1),
        "manually_unsuppressed_from_email_marketing": Row(EMAIL, NONE, 0),
        "updated_email_preferences": Row(EMAIL, NONE, 0),
        "subscribed_to_sms_marketing": Row(SMS, OPT_IN, 1),
        "unsubscribed_from_sms_marketing": Row(SMS, OPT_OUT, -1),
        "failed_to_deliver_sms": Row(SMS, BOUNCED, -1),
    }
)
# The event decides nothing, but Klaviyo mails again whom it concerns: what Omneo holds has to be asked for there once more.
LIFTED = "manually_unsuppressed_from_email_marketing"
# One act, two topics side by side: the newer name, and the one under which both count.
TWINS: Mapping[str, str] = MappingProxyType(
    {
        "subscribed_to_text_messaging_marketing": "subscribed_to_sms_marketing",
        "unsubscribed_from_text_messaging_marketing": "unsubscribed_from_sms_marketing",
        "failed_to_deliver_text_message": "failed_to_deliver_sms",
    }
)
TOPICS = frozenset(TABLE) | frozenset(TWINS)

# What a decision writes; {} stands for the channel.
_WRITES: Mapping[Decision, Mapping[str, bool]] = MappingProxyType(
    {
        OPT_IN: {"{}_promo": True, "{}_optout": False},
        OPT_OUT: {"{}_promo": False},
        BOUNCED: {"{}_bounced": True},
    }
)
_STAMPED = frozenset({OPT_IN, OPT_OUT})
# At the same second an opt-out has the last word.
_RANK = {NONE: 0, OPT_IN: 1, BOUNCED: 2, OPT_OUT: 3}

Comms = Mapping[str, Any]


@dataclass(frozen=True)
class KlaviyoEmail:
    """Klaviyo's email consent of a profile as it is now.

    `marker` is the name that the caller gave the call, None if Klaviyo does not say. `changed_at` is when it last changed, None if it does
    not say.
    """

    consent: str = ""
    suppressions: frozenset[str] = frozenset()
    marker: str | None = None
    changed_at: datetime | None = None

    @property
    def is_subscribed(self) -> bool:
        """Whether the profile is subscribed to email marketing."""
        return self.consent == "SUBSCRIBED"

    @property
    def is_bounced(self) -> bool:
        """Whether a bounce keeps Klaviyo from sending."""
        return bool(self.suppressions & _BOUNCES)

    @classmethod
    def read(cls, subscriptions: object) -> "KlaviyoEmail":
        """Read the `subscriptions` of Klaviyo's Get Profile."""
        email = subscriptions.get("email") if isinstance(subscriptions, Mapping) else None
        marketing = (email or {}).get("marketing") or {}
        changed = marketing.get("last_updated") or marketing.get("consent_timestamp")
        return cls(
            consent=str(marketing.get("consent") or ""),
            suppressions=frozenset(str(row.get("reason")) for row in marketing.get("suppression") or ()),
            marker=str(marketing["custom_method_detail"] or "")
            if "custom_method_detail" in marketing
            else None,
            changed_at=read_stamp(changed),
        )


@dataclass(frozen=True)
class Decided:
    """An event and its result, as it is remembered.

    `clears_bounce` goes with an opt-in to email that Klaviyo can deliver to. `mark` is whose an opt-in says it is: ours, another's, or
    nothing. `is_written` says that Omneo was given what it writes, `is_told` that its interaction was made. `address` is the mark of the email,
    or of the phone number, that Omneo showed of the person some seconds later, "" where that is not known.
    """

    id: str
    topic: str
    profile: str
    at: datetime
    decision: Decision
    clears_bounce: bool = False
    mark: Literal["omneo", "other", ""] = ""
    is_written: bool = False
    is_told: bool = False
    address: str = ""

    @property
    def channel(self) -> Channel:
        """The channel the event is about."""
        return row_of(self.topic).channel

    @property
    def signal(self) -> int:
        """How Omneo should take the event: 1, 0 or -1."""
        row = row_of(self.topic)
        return row.signal if self.decision is row.decision else row.otherwise


def row_of(topic: str) -> Row:
    """Return the row of a known topic."""
    return TABLE[canonical(topic)]


def canonical(topic: str) -> str:
    """Return the topic under which an act counts, whichever of its twins was sent.

    >>> canonical("failed_to_deliver_text_message")
    'failed_to_deliver_sms'
    """
    return TWINS.get(topic, topic)


def needs_klaviyo(event: SystemEvent) -> bool:
    """Return whether deciding the event takes a look at Klaviyo's profile."""
    row = row_of(event.topic)
    if row.channel is SMS:
        return False  # an SMS consent carries no mark, and no row of it asks for more
    return row.decision is OPT_IN or (row.condition is If.HARD and event.bounce != "hard")


def mark_of(event: SystemEvent, klaviyo: KlaviyoEmail | None) -> Literal["omneo", "other", ""]:
    """Return whose an opt-in says it is, on the event itself or on the consent that it made; "" for whatever else, and if neither tells.

    Whether Klaviyo's events carry the mark is not documented; the profile's consent does, until the next one replaces it.
    """
    row = row_of(event.topic)
    if row.decision is not OPT_IN:
        return ""
    if event.method:
        return event.method
    if klaviyo is None or row.channel is SMS:
        return ""
    changed_at, marker = klaviyo.changed_at, klaviyo.marker
    if marker is not None and marker.casefold() == MARKER:
        return "" if changed_at is not None and event.at < changed_at - _SAME_ACT else "omneo"
    is_of_this = changed_at is not None and abs(event.at - changed_at) <= _SAME_MOMENT
    return "other" if marker is not None and klaviyo.is_subscribed and is_of_this else ""


def decide(event: SystemEvent, klaviyo: KlaviyoEmail | None) -> Decided:
    """Return the result of an event that is a person's decision; `klaviyo` is None where Klaviyo knows no such profile."""
    row = row_of(event.topic)
    match row.condition:
        case If.SUBSCRIBED_NOW:
            applies = klaviyo is not None and klaviyo.is_subscribed
        case If.HARD:
            applies = event.bounce == "hard" or (klaviyo is not None and klaviyo.is_bounced)
        case If.ALWAYS:
            applies = True
    decision = row.decision if applies else NONE
    clears = decision is OPT_IN and row.channel is EMAIL and klaviyo is not None and not klaviyo.is_bounced
    return Decided(event.id, event.topic, event.profile, event.at, decision, clears, mark_of(event, klaviyo))


def landing_of(event: SystemEvent) -> Decided | None:
    """Return the result of an event that comes from our own call; None if it cannot come from one. Klaviyo's profile does not help here."""
    decision = row_of(event.topic).decision
    if decision not in _STAMPED:
        return None
    return Decided(event.id, event.topic, event.profile, event.at, decision, mark=mark_of(event, None))


def in_order(decided: Iterable[Decided]) -> Sequence[Decided]:
    """Return events in the order in which they count."""
    return sorted(decided, key=lambda event: (event.at, _RANK.get(event.decision, 0), event.id))


def is_stamped(decision: Decision) -> bool:
    """Return whether the decision is a person's own, which is what Omneo's stamps are for: a bounce is not."""
    return decision in _STAMPED


def is_subscribed(comms: Comms, channel: Channel) -> bool:
    """Return whether Omneo counts the profile as subscribed: only what is recorded as a "no" blocks.

    Omneo's page "Profile sync", and `isSubscribed` of its SDK.
    """
    flags = {name: flag(comms.get(f"{channel}_{name}")) for name in ("promo", "optout", "bounced")}
    return flags["promo"] is not False and flags["optout"] is not True and flags["bounced"] is not True


def direction_in(comms: Comms, channel: Channel) -> Direction | None:
    """Return what Omneo has recorded of the person's decision, a bounce left aside; None if nothing."""
    promo = flag(comms.get(f"{channel}_promo"))
    if promo is False or flag(comms.get(f"{channel}_optout")) is True:
        return "out"
    return "in" if promo else None


def state_of(comms: Comms, channel: Channel) -> str:
    """Return the consent in a word, for the ledger."""
    if flag(comms.get(f"{channel}_bounced")):
        return "bounced"
    if not is_subscribed(comms, channel):
        return "unsubscribed"
    return "unset" if comms.get(f"{channel}_promo") is None else "subscribed"


def stamp_name(channel: Channel) -> str:
    """Return the comms field that holds when the channel's consent was last decided."""
    return f"{channel}_consent_updated_at"


def read_stamp(value: object) -> datetime | None:
    """Read Omneo's `Y-m-d H:i:s` in UTC, or ISO 8601, as whole seconds; None for anything else.

    >>> read_stamp("2026-11-21 10:00:00") == read_stamp("2026-11-21T21:00:00.5+11:00")
    True
    """
    try:
        time = datetime.fromisoformat(value.strip()) if isinstance(value, str) else None
        if time is None:
            return None
        aware = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return aware.replace(microsecond=0)


def write_stamp(at: datetime) -> str:
    """Return a time as Omneo's page "System webhooks" has stamps: UTC, no zone."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def writes(event: Decided) -> dict[str, Any]:
    """Return every field that the event writes, if nothing newer does."""
    fields: dict[str, Any] = {
        name.format(event.channel): value for name, value in _WRITES.get(event.decision, {}).items()
    }
    if event.clears_bounce:
        fields["email_bounced"] = False
    if event.decision in _STAMPED:
        fields[stamp_name(event.channel)] = write_stamp(event.at)
    return fields


def same(name: str, held: Any, written: Any) -> bool:
    """Return whether Omneo holds what is to be written."""
    if name.endswith("_consent_updated_at"):
        return read_stamp(held) == read_stamp(written)
    return flag(held) is written


def flag(value: Any) -> bool | None:
    """Read a flag as Laravel may write it: true, 1 or "1"."""
    if value in (True, "1", "true"):
        return True
    return False if value in (False, "0", "false") else None
