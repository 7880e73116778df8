"""The decisions of a sync in plain words for an operator: one sentence for each reason. Pure.

The modules that decide hold the reasons themselves.
"""

from collections.abc import Mapping
from types import MappingProxyType

# How the Klaviyo profile is found.
MATCHED: Mapping[str, str] = MappingProxyType(
    {
        "stored_identity": "Omneo holds the Klaviyo id as an identity.",
        "external_id": "A Klaviyo profile has the Omneo id as its external_id.",
        "email": "A Klaviyo profile has this email address.",
        "none": "Klaviyo has no such profile.",
    }
)
# Why nothing is sent.
EXCLUDED: Mapping[str, str] = MappingProxyType(
    {
        "example_email": "The email address is one of @example.com.",
        "staff_profile": "The email address begins with staff-profile-.",
        "connection_profile": "The profile is marked as a connection.",
        "exclude_logic": "The setting profile_exclude_logic matches it.",
        "gone": "Omneo has no such profile: it was deleted, or never existed.",
        "deleted": "Omneo has reported that the profile was deleted, and has not changed it since.",
        "undecided": "It is unknown whether profile_exclude_logic matches it.",
    }
)
# Why a part of the profile is left out.
LEFT_OUT: Mapping[str, str] = MappingProxyType(
    {
        "email_invalid": "This is no email address.",
        "phone_invalid": "This is no phone number, or its country is not known: see the setting default_region.",
        "value_unfit": "Klaviyo would not take this value.",
        "name_unfit": "A property cannot have this name.",
        "name_reserved": "A mapping must not set a field by which profiles are found.",
        "too_large": "The profile would be larger than Klaviyo takes.",
        "refused": "Klaviyo does not take this value.",
        "of_another": "Another Klaviyo profile has it.",
        "merging": "Another Klaviyo profile of the same person has it, and is merged into this one.",
        "not_shown": "Omneo shows no consent, so none is asked for.",
        "stale_identity": "Klaviyo does not know the id that Omneo holds, or has it for somebody else; it is replaced.",
    }
)
# The effect of the sync on a consent.
OUTCOMES: Mapping[str, str] = MappingProxyType(
    {
        "subscribe": "Klaviyo is asked to subscribe.",
        "unsubscribe": "Klaviyo is asked to unsubscribe.",
        "leave": "Klaviyo's consent is left as it is.",
        "pull_opt_out": "Klaviyo's opt-out is written to Omneo.",
    }
)
# And why.
CONSENT: Mapping[str, str] = MappingProxyType(
    {
        "no_identifier": "There is no address for this consent.",
        "no_opinion": "Omneo has never recorded a decision.",
        "bounced": "Omneo has it as bounced, which neither subscribes nor unsubscribes anybody.",
        "agreed": "Both sides agree.",
        "fills_never_subscribed": "Omneo counts it as subscribed, and Klaviyo has never heard a decision.",
        "omneo_opt_in_newer": "Omneo's opt-in is newer than what Klaviyo holds.",
        "omneo_opt_out_newer": "Omneo's opt-out is not older than what Klaviyo holds.",
        "omneo_opt_out_undated": "Omneo holds an opt-out without a date, which counts nevertheless.",
        "opt_out_of_never_subscribed": "Omneo holds an opt-out, and Klaviyo does not know of it.",
        "klaviyo_opt_in_newer": "Klaviyo's opt-in is newer than Omneo's opt-out.",
        "klaviyo_opt_out_newer": "Klaviyo's opt-out is not older than Omneo's opt-in.",
        "opt_out_undone": "An opt-in of ours has come to Klaviyo after the opt-out, which is newer.",
        "klaviyo_complaint": "Klaviyo has a complaint of spam, which the extension never lifts.",
        "klaviyo_consent_unknown": "Klaviyo uses a word for it that the extension does not know.",
        "already_asked": "Klaviyo was asked for this decision before, and may wait for the person to confirm.",
        "with_sms_marketing": "It follows SMS marketing.",
        "sms_opted_out": "Omneo has the profile as opted out of SMS.",
        "not_synced": "The profile is not synced.",
        "not_shown": "Omneo shows no consent.",
    }
)
