"""The acts of people, mail servers and Klaviyo's users on a profile's consent, and the events that Klaviyo records of them.
It changes state and records; it checks only the fields that a form would check.

Klaviyo's pages "Bulk Subscribe Profiles", "Bulk Unsubscribe Profiles" and "Working with system webhooks".

Assumed (consent-events, double-opt-in-waits, list-unsubscribe-is-of-the-list, suppression-keeps-consent, bounce-says-its-kind):
- Consent events are recorded when the consent changes, or each time by a switch; "Subscribed to List" when somebody
  joins. Email's event comes before the list's. An event is recorded only for a topic that the account offers.
- `event_properties` are empty except for `List` (the list's name), `Bounce Type` (Hard or Soft, by a switch) and
  `custom_method_detail` of a subscribing (by a switch, off).
- Double opt-in holds for email and SMS marketing; until it is confirmed the profile is neither subscribed nor on the
  list. A later unsubscribing does not end a waiting confirmation.
- A member of a list who unsubscribes from it leaves it and gets the list suppression UNSUBSCRIBE; consent stays. Only
  email knows that: every other channel is unsubscribed globally. A global unsubscribing leaves the lists as they are.
- A hard bounce, a spam complaint and a manual suppression suppress and leave the consent as it is.
- Adding to a list without consent records "Subscribed to List" too, by a switch; removing records nothing.
- There is no event for subscribing to transactional SMS or to push.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deploy.local.sandbox.klaviyo.accounts import Account, Profile, Wish
from deploy.local.sandbox.klaviyo.lists import DOUBLE
from deploy.local.sandbox.klaviyo.subscriptions import (
    HARD_BOUNCE,
    SPAM_COMPLAINT,
    UNSUBSCRIBE,
    USER_SUPPRESSED,
)
from deploy.local.sandbox.klaviyo.topics import metric_name

_SUBSCRIBED: Mapping[str, Iterable[str]] = {
    "email": ["subscribed_to_email_marketing"],
    "sms": ["subscribed_to_sms_marketing", "subscribed_to_text_messaging_marketing"],
    "sms_transactional": [],
    "push": [],
}
_UNSUBSCRIBED: Mapping[str, Iterable[str]] = {
    "email": ["unsubscribed_from_email_marketing"],
    "sms": ["unsubscribed_from_sms_marketing", "unsubscribed_from_text_messaging_marketing"],
    "sms_transactional": ["unsubscribed_from_text_messaging_transactional"],
    "push": [],
}
_CONFIRMED = ("email", "sms")


@dataclass
class ConsentSwitches:
    """Choices that Klaviyo's public pages leave open, and how long its jobs take, in seconds.

    A job has its effect after `job_seconds`. For `merged_seconds`, the id of a merged profile still finds the profile
    into which it was merged. `bounce_types`, `custom_source_in_events`: whether events say so.
    `repeats_consent_events`: whether a consent that changes nothing is recorded. `list_events_without_consent`: whether
    being added to a list is. `unsupported_phone_prefixes`: the beginnings, such as "+7", of phone numbers from
    countries that accounts do not support. `duplicate_names_itself`: whether a 409 names the profile in the call, not
    the profile that has the identifier. `otherwise`: the assumptions, by their names in deploy/guide/assumptions.md, in
    which Klaviyo behaves the other way.
    """

    job_seconds: float = 0.0
    merged_seconds: float = 600.0
    bounce_types: bool = True
    custom_source_in_events: bool = False
    repeats_consent_events: bool = False
    list_events_without_consent: bool = True
    unsupported_phone_prefixes: Sequence[str] = ()
    duplicate_names_itself: bool = False
    otherwise: Sequence[str] = ()


def record(
    account: Account,
    slugs: Iterable[str],
    profile: Profile,
    properties: Mapping[str, Any],
    at: float,
    *,
    apart: float = 0.0,
) -> None:
    """Record an event of Klaviyo's own for each of the topics that the account offers, each `apart` seconds after the one before."""
    for number, topic in enumerate(f"event:klaviyo.{slug}" for slug in slugs):
        if topic in account.topics:
            account.record(topic, metric_name(topic), profile.id, properties, at=at + number * apart)


def subscribe(account: Account, profile: Profile, wish: Wish, switches: ConsentSwitches, at: float) -> None:
    """Subscribe the profile, or let the wish wait where double opt-in holds."""
    if wish.channel in _CONFIRMED and opt_in_process(account, wish.list_id) == DOUBLE:
        waiting = account.unconfirmed.setdefault(profile.id, [])
        waiting[:] = [*(other for other in waiting if not _is_same(other, wish)), wish]
        return
    complete(account, profile, wish, switches, at)


def confirm(account: Account, profile: Profile, channel: str, switches: ConsentSwitches, at: float) -> None:
    """Confirm everything that waits for this profile's double opt-in on the channel. KeyError if nothing does."""
    waiting = account.unconfirmed.get(profile.id, [])
    confirmed = [wish for wish in waiting if wish.channel == channel]
    if not confirmed:
        raise KeyError(f"nothing to confirm on {channel}")
    waiting[:] = [wish for wish in waiting if wish.channel != channel]
    for wish in confirmed:
        asked = replace(wish, method=replace(wish.method, double_optin=True))
        complete(account, profile, asked, switches, at)


def complete(
    account: Account,
    profile: Profile,
    wish: Wish,
    switches: ConsentSwitches,
    at: float,
    *,
    consented_at: float | None = None,
) -> None:
    """Subscribe the profile without asking again. With `consented_at` it is history: the list records no event."""
    consent = profile.subscriptions.consents[wish.channel]
    stamp = at - 3600 if "consent-is-stamped-when-it-lands" in switches.otherwise else at
    changed = consent.give(wish.method, at=stamp if consented_at is None else consented_at, now=at)
    if wish.channel == "email":
        profile.subscriptions.lift(wish.list_id)
    if changed or switches.repeats_consent_events:
        said = {"custom_method_detail": wish.method.custom_detail} if switches.custom_source_in_events else {}
        recorded_at = at - 600 if "event-is-near-its-consent" in switches.otherwise else at
        record(account, _SUBSCRIBED[wish.channel], profile, said, recorded_at, apart=_twins_apart(switches))
    if wish.list_id is not None:
        join(account, profile, wish.list_id, at, is_recorded=consented_at is None)


def join(account: Account, profile: Profile, list_id: str, at: float, *, is_recorded: bool) -> None:
    """Put the profile on a list, without a change of consent; nothing happens if it is there."""
    if list_id in profile.memberships:
        return
    profile.memberships[list_id] = at
    if is_recorded:
        record(account, ["subscribed_to_list"], profile, {"List": account.lists[list_id].name}, at)


def unsubscribe(
    account: Account,
    profile: Profile,
    channel: str,
    switches: ConsentSwitches,
    at: float,
    *,
    list_id: str | None,
) -> None:
    """Unsubscribe the profile: from the list if it is on it, globally if not."""
    subscriptions = profile.subscriptions
    if channel == "email" and list_id is not None and list_id in profile.memberships:
        del profile.memberships[list_id]
        subscriptions.suppress(UNSUBSCRIBE, at, list_id)
        record(account, ["unsubscribed_from_list"], profile, {"List": account.lists[list_id].name}, at)
        return
    changed = subscriptions.consents[channel].withdraw(at=at, now=at)
    if channel == "email":
        subscriptions.suppress(UNSUBSCRIBE, at)
    if changed or switches.repeats_consent_events:
        marked = "unsubscribe-bears-no-mark" in switches.otherwise
        said = {"custom_method_detail": "omneo"} if marked else {}
        record(account, _UNSUBSCRIBED[channel], profile, said, at, apart=_twins_apart(switches))


def bounce(
    account: Account, profile: Profile, switches: ConsentSwitches, at: float, *, is_hard: bool
) -> None:
    """Bounce an email; a hard bounce suppresses."""
    if is_hard:
        profile.subscriptions.suppress(HARD_BOUNCE, at)
    says_so = switches.bounce_types and "bounce-says-its-kind" not in switches.otherwise
    said = {"Bounce Type": "Hard" if is_hard else "Soft"} if says_so else {}
    record(account, ["bounced_email"], profile, said, at)


def mark_as_spam(account: Account, profile: Profile, at: float) -> None:
    """Complain of an email."""
    profile.subscriptions.suppress(SPAM_COMPLAINT, at)
    record(account, ["marked_email_as_spam"], profile, {}, at)


def suppress(account: Account, profile: Profile, at: float) -> bool:
    """Suppress by hand; returns whether it was not suppressed by hand before."""
    changed = profile.subscriptions.suppress(USER_SUPPRESSED, at)
    if changed:
        record(account, ["manually_suppressed_from_email_marketing"], profile, {}, at)
    return changed


def unsuppress(account: Account, profile: Profile, at: float) -> bool:
    """End manual suppressions only; return whether there were any."""
    changed = profile.subscriptions.unsuppress()
    if changed:
        record(account, ["manually_unsuppressed_from_email_marketing"], profile, {}, at)
    return changed


def opt_in_process(account: Account, list_id: str | None) -> str:
    """Return the opt-in of a list, or the account's own without one. KeyError if there is no such list."""
    return account.details.default_opt_in if list_id is None else account.lists[list_id].opt_in_process


def _twins_apart(switches: ConsentSwitches) -> float:
    return 1.0 if "twin-topics-have-one-second" in switches.otherwise else 0.0


def _is_same(wish: Wish, other: Wish) -> bool:
    return (wish.channel, wish.list_id) == (other.channel, other.list_id)
