"""The result of a comparison of both sides: the step to take for one consent, and why. Values only."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.consent_events import Consent


class Outcome(StrEnum):
    """The action of a step."""

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
    KLAVIYO_COMPLAINT = "klaviyo_complaint"
    KLAVIYO_CONSENT_UNKNOWN = "klaviyo_consent_unknown"  # a word that is none of the three we know
    OPT_OUT_UNDONE = "opt_out_undone"  # by an opt-in of ours that landed after it
    ALREADY_ASKED = "already_asked"  # for this decision: Klaviyo may be waiting for the person to confirm
    WITH_SMS_MARKETING = "with_sms_marketing"
    SMS_OPTED_OUT = "sms_opted_out"


@dataclass(frozen=True)
class Step:
    """The step to take for one consent, and why.

    `decided_at` is the date of the decision, None if it has none: for an opt-in, Omneo's stamp. `opted_out_at` is the date of an opt-out of
    which Omneo is to learn.
    """

    consent: Consent
    outcome: Outcome
    reason: Reason
    decided_at: datetime | None = None
    opted_out_at: datetime | None = None
