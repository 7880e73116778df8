"""What Omneo's consent asks of Klaviyo's, one channel at a time: live sync, resync and reconcile all ask here.

Nothing here calls anybody, remembers what was asked before, or knows of lists: that is the callers'.

An opt-out is never undone by an older opt-in, on either side. An opt-in must be later than anything that Klaviyo knows,
suppressions among it; an opt-out only needs to be no older than Klaviyo's opt-in, since a suppression never is one. Times are compared by the second, since Omneo keeps no more.
Klaviyo's NEVER_SUBSCRIBED is no decision, so that nothing there can be newer than Omneo's. A suppression by a person (the
customer's unsubscribe or complaint, or the merchant's hand) is an opt-out that Klaviyo holds, since a subscribe would
lift it; a suppression for a bounce or a wrong address is none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

Channel = Literal["email", "sms"]

_BOUNCES = frozenset({"HARD_BOUNCE", "INVALID_EMAIL"})


class Outcome(StrEnum):
    """What is to be done."""

    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    LEAVE = "leave"
    PULL_OPT_OUT = "pull_opt_out"  # Klaviyo holds the newer opt-out: Omneo is to learn of it


class Reason(StrEnum):
    """Why, for the log and for `explain`."""

    NO_IDENTIFIER = "no_identifier"  # no email, or no phone number, to say it about
    NO_OPINION = "no_opinion"  # Omneo has never recorded it, and the tenant's setting says leave
    BOUNCED = "bounced"  # neither subscribed nor opted out
    AGREED = "agreed"
    FILLS_NEVER_SUBSCRIBED = "fills_never_subscribed"
    OMNEO_OPT_IN_NEWER = "omneo_opt_in_newer"
    OMNEO_OPT_OUT_NEWER = "omneo_opt_out_newer"
    OMNEO_OPT_OUT_UNDATED = "omneo_opt_out_undated"  # it applies all the same
    OPT_OUT_OF_NEVER_SUBSCRIBED = "opt_out_of_never_subscribed"  # whom Klaviyo would still send campaigns
    KLAVIYO_OPT_IN_NEWER = "klaviyo_opt_in_newer"
    KLAVIYO_OPT_OUT_NEWER = "klaviyo_opt_out_newer"
    KLAVIYO_OPT_OUT_UNDATED = "klaviyo_opt_out_undated"
    KLAVIYO_CONSENT_UNKNOWN = "klaviyo_consent_unknown"  # a word that is none of the three we know


@dataclass(frozen=True)
class Decision:
    """What is to be done about one channel, and why.

    `consented_at` is Omneo's own stamp (UTC), for a historical subscribe: None when Omneo has none that may be used.
    `opted_out_at` is the time to give Omneo with a pulled opt-out: None when Klaviyo tells none, and for every other outcome.
    """

    outcome: Outcome
    reason: Reason
    consented_at: datetime | None = None
    opted_out_at: datetime | None = None


@dataclass(frozen=True)
class _Klaviyo:
    """Klaviyo's side of one channel.

    `decided` is the newest time of the consent itself, `newest` that of the consent and of any suppression.
    """

    consent: str
    decided: datetime | None
    newest: datetime | None
    opted_out: bool

    def is_older_than(self, stamp: datetime | None) -> bool:
        return stamp is not None and self.newest is not None and stamp > self.newest


def decide(
    channel: Channel,
    comms: Mapping[str, Any],
    subscriptions: Mapping[str, Any] | None,
    *,
    unset: str,
    has_identifier: bool,
    now: datetime,
) -> Decision:
    """Return what is to be done about a profile's consent for `channel` in Klaviyo.

    `comms` is Omneo's `attributes.comms`; `subscriptions` Klaviyo's additional field of that name, None for a profile that
    does not exist yet. `unset` is the tenant's `email_consent_unset` or `sms_consent_unset`: "subscribe" or "leave".
    `has_identifier` says whether the profile has an email address (a valid phone number, for SMS). A stamp of Omneo's that
    lies after `now` (aware) would beat every later opt-out, and counts as none.

    https://docs.omneo.io/extensions/klaviyo/profile-sync, https://developers.klaviyo.com/en/reference/get_profile
    """
    if not has_identifier:
        return Decision(Outcome.LEAVE, Reason.NO_IDENTIFIER)
    wanted = _wanted(channel, comms, unset)
    if wanted is None:
        return Decision(Outcome.LEAVE, Reason.NO_OPINION)
    stamp = read_stamp(comms.get(f"{channel}_consent_updated_at"))
    if stamp is not None and stamp > now:
        stamp = None
    klaviyo = _klaviyo(channel, subscriptions)
    if not wanted:
        return _opt_out(klaviyo, stamp)
    return _opt_in(klaviyo, stamp, bounced=_is_true(comms.get(f"{channel}_bounced")))


def read_stamp(value: object) -> datetime | None:
    """Return a time as Omneo or Klaviyo writes it, in whole seconds of UTC; None for anything that is not one.

    Omneo writes `Y-m-d H:i:s` or ISO 8601. What names no zone is UTC.

    >>> read_stamp("2026-11-21 10:00:00") == read_stamp("2026-11-21T12:00:00.9+02:00")
    True
    """
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value.strip())
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return time.replace(microsecond=0)


# Omneo's side


def _wanted(channel: Channel, comms: Mapping[str, Any], unset: str) -> bool | None:
    """Return what the customer decided, a bounce left aside: a bounce is no decision of hers."""
    promo = comms.get(f"{channel}_promo")
    if _is_false(promo) or _is_true(comms.get(f"{channel}_optout")):
        return False
    if promo is None and unset == "leave":
        return None
    return True


def _is_true(value: object) -> bool:
    return value in (True, "1", "true")


def _is_false(value: object) -> bool:
    return value is not None and value in (False, "0", "false")


def _opt_in(klaviyo: _Klaviyo, stamp: datetime | None, *, bounced: bool) -> Decision:
    if klaviyo.opted_out and not klaviyo.is_older_than(stamp):
        return _against_an_opt_out(klaviyo, stamp)
    if klaviyo.consent == "SUBSCRIBED":
        return Decision(Outcome.LEAVE, Reason.AGREED, stamp)
    if bounced:
        return Decision(Outcome.LEAVE, Reason.BOUNCED, stamp)
    if klaviyo.opted_out:
        return Decision(Outcome.SUBSCRIBE, Reason.OMNEO_OPT_IN_NEWER, stamp)
    if klaviyo.consent == "NEVER_SUBSCRIBED":
        return Decision(Outcome.SUBSCRIBE, Reason.FILLS_NEVER_SUBSCRIBED, stamp)
    return Decision(Outcome.LEAVE, Reason.KLAVIYO_CONSENT_UNKNOWN, stamp)


def _against_an_opt_out(klaviyo: _Klaviyo, stamp: datetime | None) -> Decision:
    if stamp is not None and klaviyo.newest is None:
        # Which came first nobody can tell, so that neither side is changed.
        return Decision(Outcome.LEAVE, Reason.KLAVIYO_OPT_OUT_UNDATED, stamp)
    return Decision(Outcome.PULL_OPT_OUT, Reason.KLAVIYO_OPT_OUT_NEWER, stamp, opted_out_at=klaviyo.newest)


def _opt_out(klaviyo: _Klaviyo, stamp: datetime | None) -> Decision:
    match klaviyo.consent:
        case "UNSUBSCRIBED":
            return Decision(Outcome.LEAVE, Reason.AGREED, stamp)
        case "NEVER_SUBSCRIBED":
            return Decision(Outcome.UNSUBSCRIBE, Reason.OPT_OUT_OF_NEVER_SUBSCRIBED, stamp)
        case _ if stamp is None:
            return Decision(Outcome.UNSUBSCRIBE, Reason.OMNEO_OPT_OUT_UNDATED)
        case _ if klaviyo.opted_out or klaviyo.decided is None or stamp >= klaviyo.decided:
            return Decision(Outcome.UNSUBSCRIBE, Reason.OMNEO_OPT_OUT_NEWER, stamp)
        case _:
            return Decision(Outcome.LEAVE, Reason.KLAVIYO_OPT_IN_NEWER, stamp)


# Klaviyo's side


def _klaviyo(channel: Channel, subscriptions: Mapping[str, Any] | None) -> _Klaviyo:
    marketing = _mapping(_mapping(_mapping(subscriptions).get(channel)).get("marketing"))
    consent = str(marketing.get("consent") or "NEVER_SUBSCRIBED")
    decided = [
        time for name in ("consent_timestamp", "last_updated") if (time := read_stamp(marketing.get(name)))
    ]
    rows = marketing.get("suppression")
    suppressions = [row for row in (rows if isinstance(rows, list) else ()) if isinstance(row, Mapping)]
    times = [time for row in suppressions if (time := read_stamp(row.get("timestamp")))]
    return _Klaviyo(
        consent=consent,
        decided=max(decided, default=None),
        newest=max([*decided, *times], default=None),
        opted_out=consent == "UNSUBSCRIBED" or _is_suppressed(consent, marketing, suppressions),
    )


def _is_suppressed(consent: str, marketing: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> bool:
    """Tell whether a person had the profile suppressed, and did not subscribe after that."""
    by_hand = [row for row in rows if row.get("reason") not in _BOUNCES]
    if consent != "SUBSCRIBED":
        return bool(by_hand)
    since = read_stamp(marketing.get("consent_timestamp"))
    times = [time for row in by_hand if (time := read_stamp(row.get("timestamp")))]
    return since is not None and any(time >= since for time in times)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
