"""The owner of the phone number in an event. Pure.

A text message consent belongs to a number. Where nothing but the email says that a Klaviyo profile is an Omneo profile, the two may have
different numbers, and be two people with one email.
"""

from dataclasses import replace

from shared.consent.rules.decisions import Decided
from shared.consent_events import Channel, Decision


def is_of_a_number(event: Decided) -> bool:
    """Return whether an event may count for one phone number only: it is an opt-in to text messages, or an opt-out of them."""
    return event.channel is Channel.SMS and event.decision in (Decision.OPT_IN, Decision.OPT_OUT)


def without_decision_of_another_number(
    event: Decided, *, in_klaviyo: str, in_omneo: str | None, names_another: bool
) -> Decided:
    """Return the event; without a decision if it is an opt-in to text messages at a number that is not known to be the Omneo profile's, or
    an opt-out at a number that is known to be another's.

    `in_klaviyo` and `in_omneo` are the profiles' numbers in E.164. `names_another` says that Klaviyo's profile has the id of another Omneo
    profile: it decides where Omneo has no number. In every doubt an opt-out counts.
    """
    if not is_of_a_number(event):
        return event
    if event.decision is Decision.OPT_OUT:
        is_anothers = names_another and bool(in_klaviyo and in_omneo) and in_klaviyo != in_omneo
    else:
        is_anothers = names_another if in_omneo is None else in_klaviyo != in_omneo
    return replace(event, decision=Decision.NONE) if is_anothers else event
