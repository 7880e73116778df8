"""What a sync asks of Klaviyo for a person's consents, one step for each, with its reason. Pure.

The rule between Omneo and Klaviyo stands in consent_to_klaviyo.py. What is added here is what the extension remembers of its own calls
(`Told`): Klaviyo stamps a consent that we asked for with the time of its job, which is later than the decision in Omneo that made us
ask. Taken for a decision of its own, it would beat whatever the person decides in Omneo in between.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from shared.consent.rules.decisions import MARKER
from shared.consent.rules.to_klaviyo import Decision, Outcome, Reason, decide, read_stamp
from shared.consent_events import Channel, Consent, Direction

# Klaviyo carries a job out within about a minute; and two clocks are a little apart.
_BEFORE = timedelta(seconds=5)
_AFTER = timedelta(seconds=60)


class Why(StrEnum):
    """Reasons beside those of consent_to_klaviyo.py, for the log and for `explain`."""

    ALREADY_ASKED = "already_asked"  # for this decision: Klaviyo may be waiting for the person to confirm
    WITH_SMS_MARKETING = "with_sms_marketing"
    SMS_OPTED_OUT = "sms_opted_out"


@dataclass(frozen=True)
class Told:
    """The last thing that was asked of Klaviyo about a consent: which way, for which stamp of Omneo's, when, on which profile.

    `reversed_at` is when the other way was asked last before, None if it never was.
    """

    direction: Direction
    stamp: datetime | None
    at: datetime
    klaviyo_id: str
    reversed_at: datetime | None = None

    def after(self, before: "Told | None") -> "Told":
        """Return this, asked after `before`."""
        if before is None or before.klaviyo_id != self.klaviyo_id:
            return self
        turned = before.at if before.direction != self.direction else before.reversed_at
        return replace(self, reversed_at=turned)


@dataclass(frozen=True)
class Subject:
    """Whose consent a channel is about: the address, "" if there is none, and the Klaviyo profile that has it."""

    klaviyo_id: str
    address: str = field(repr=False)
    subscriptions: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class ConsentRules:
    """The tenant's settings: what a consent means that Omneo never recorded, and whether SMS is transactional as well."""

    unset: Mapping[Channel, str]
    sms_transactional: bool = False


@dataclass(frozen=True)
class Step:
    """What is to be done about one consent, and why. `stamp` is Omneo's, `opted_out_at` goes with a pulled opt-out."""

    consent: Consent
    outcome: Outcome
    reason: Reason | Why
    stamp: datetime | None = None
    opted_out_at: datetime | None = None


def consent_steps(
    comms: Mapping[str, Any],
    subjects: Mapping[Channel, Subject],
    *,
    rules: ConsentRules,
    told: Mapping[Consent, Told],
    is_foreign: Callable[[Channel], bool],
    now: datetime,
) -> list[Step]:
    """Return the steps for email, SMS and, if the tenant wants it, transactional SMS.

    `is_foreign` says of a channel whether Omneo's stamp on it is a decision that did not come from Klaviyo; it is asked only where
    that matters.
    """
    steps = []
    for channel in Channel:
        subject, consent = subjects[channel], Consent(channel.value)
        decision = decide(
            channel.value,
            comms,
            subject.subscriptions,
            unset=rules.unset[channel],
            has_identifier=bool(subject.address),
            now=now,
        )
        known = told.get(consent)
        if known is not None and known.klaviyo_id != subject.klaviyo_id:
            known = None
        decision = _opt_out_over_our_own(channel, decision, subject, known)
        if _is_over_our_own(decision, known) and is_foreign(channel):
            bounced = comms.get(f"{channel}_bounced") in (True, "1", "true")
            decision = _opt_in_over_our_own(decision, bounced=bounced)
        step = _once(_step(consent, decision), known)
        steps.append(_leave(step) if _is_on_its_way(decision, known, now) else step)
    if rules.sms_transactional:
        steps.append(_transactional(steps[-1], comms, subjects[Channel.SMS], told))
    return steps


def _step(consent: Consent, decision: Decision) -> Step:
    return Step(consent, decision.outcome, decision.reason, decision.consented_at, decision.opted_out_at)


# What Klaviyo holds as its newest may be no news, but what we asked for. Then the decision in Omneo since counts.


def _opt_out_over_our_own(
    channel: Channel, decision: Decision, subject: Subject, told: Told | None
) -> Decision:
    if decision.reason is not Reason.KLAVIYO_OPT_IN_NEWER:
        return decision
    marketing = _kind(subject, channel, "marketing")
    since = read_stamp(marketing.get("consent_timestamp"))
    marked = str(marketing.get("custom_method_detail") or "").casefold() == MARKER
    asked = told if told is not None and told.direction == "in" else None
    if (marked or _is_effect(asked, since)) and _is_later(decision.consented_at, asked):
        return Decision(Outcome.UNSUBSCRIBE, Reason.OMNEO_OPT_OUT_NEWER, decision.consented_at)
    return decision


def _is_over_our_own(decision: Decision, told: Told | None) -> bool:
    """Tell whether the opt-out that Klaviyo holds came of our own call, for a decision older than Omneo's opt-in of now.

    Without both stamps nobody can tell, and the opt-out stands.
    """
    return (
        decision.reason is Reason.KLAVIYO_OPT_OUT_NEWER
        and told is not None
        and told.direction == "out"
        and told.stamp is not None
        and decision.consented_at is not None
        and decision.consented_at > told.stamp
        and _is_effect(told, decision.opted_out_at)
    )


def _is_on_its_way(decision: Decision, told: Told | None, now: datetime) -> bool:
    """Tell whether Klaviyo still holds the opt-out that we asked for before, because it has not come to the opt-in yet.

    Not for long: an opt-out that stays is taken for the person's.
    """
    return (
        decision.reason is Reason.KLAVIYO_OPT_OUT_NEWER
        and told is not None
        and told.direction == "in"
        and told.stamp is not None
        and told.stamp == decision.consented_at
        and told.reversed_at is not None
        and decision.opted_out_at is not None
        and told.reversed_at - _BEFORE <= decision.opted_out_at <= told.reversed_at + _AFTER
        and now <= told.at + 2 * _AFTER
    )


def _leave(step: Step) -> Step:
    return Step(step.consent, Outcome.LEAVE, Why.ALREADY_ASKED, step.stamp)


def _opt_in_over_our_own(decision: Decision, *, bounced: bool) -> Decision:
    if bounced:
        return Decision(Outcome.LEAVE, Reason.BOUNCED, decision.consented_at)
    return Decision(Outcome.SUBSCRIBE, Reason.OMNEO_OPT_IN_NEWER, decision.consented_at)


def _is_effect(told: Told | None, at: datetime | None) -> bool:
    """Tell whether what Klaviyo stamps with this time came of our own call."""
    return told is not None and at is not None and told.at - _BEFORE <= at <= told.at + _AFTER


def _is_later(stamp: datetime | None, told: Told | None) -> bool:
    return told is None or told.stamp is None or (stamp is not None and stamp > told.stamp)


def _once(step: Step, told: Told | None) -> Step:
    """Return the step, without a subscribe that was asked for before: double opt-in would mail again at every sync."""
    is_known = told is not None and told.direction == "in" and told.stamp == step.stamp
    if step.outcome is Outcome.SUBSCRIBE and is_known:
        return _leave(step)
    return step


def _transactional(
    sms: Step, comms: Mapping[str, Any], subject: Subject, told: Mapping[Consent, Told]
) -> Step:
    """Transactional SMS goes with SMS marketing where Klaviyo has never heard of it, and ends with `sms_optout`."""
    consent = Consent.SMS_TRANSACTIONAL
    if not subject.address:
        return Step(consent, Outcome.LEAVE, Reason.NO_IDENTIFIER)
    held = str(_kind(subject, Channel.SMS, "transactional").get("consent") or "NEVER_SUBSCRIBED")
    marketing = str(_kind(subject, Channel.SMS, "marketing").get("consent") or "")
    if comms.get("sms_optout") in (True, "1", "true"):
        outcome = Outcome.UNSUBSCRIBE if held == "SUBSCRIBED" else Outcome.LEAVE
        return Step(consent, outcome, Why.SMS_OPTED_OUT, sms.stamp)
    is_wanted = sms.outcome is Outcome.SUBSCRIBE or (
        sms.reason is Reason.AGREED and marketing == "SUBSCRIBED"
    )
    if held != "NEVER_SUBSCRIBED" or not is_wanted:
        return Step(consent, Outcome.LEAVE, Reason.AGREED if is_wanted else Reason.NO_OPINION, sms.stamp)
    known = told.get(consent)
    if known is not None and known.klaviyo_id != subject.klaviyo_id:
        known = None
    return _once(Step(consent, Outcome.SUBSCRIBE, Why.WITH_SMS_MARKETING, sms.stamp), known)


def _kind(subject: Subject, channel: Channel, kind: str) -> Mapping[str, Any]:
    found: Any = subject.subscriptions
    for name in (channel.value, kind):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
