"""The things that an install makes in Klaviyo and Omneo, and the permissions that it asks for."""

# Only what the extension calls: Klaviyo reviews apps for least privilege. https://developers.klaviyo.com/en/docs/set_up_oauth
SCOPES = (
    "accounts:read", "events:read", "events:write", "metrics:read", "profiles:read", "profiles:write",
    "lists:read", "lists:write", "subscriptions:read", "subscriptions:write", "custom-objects:read",
    "custom-objects:write", "webhooks:read", "webhooks:write", "data-privacy:write",
)  # fmt: skip

# Title and description, as Omneo's installation page names and explains them.
DATA_SOURCES = {
    "Omneo Dates": "Dates of a customer: birthdays, anniversaries and relationship dates.",
    "Omneo Connections": "Links from a profile to accounts elsewhere.",
    "Omneo Rewards": "Rewards issued to a customer, and their redemptions.",
    "Omneo Addresses": "Changes of a customer's addresses.",
    "Omneo Benefits": "Enrolment and activity in special programs.",
    "Omneo Lists": "Membership of lists and subscriptions.",
}

# Omneo's installation page: one webhook each, all made disabled.
OMNEO_TRIGGERS = ("profile.created", "profile.updated", "profile.deleted")

# The consent events that the extension acts on. Not every account offers all of them; the sms and text_messaging twins stand side by side.
# https://developers.klaviyo.com/en/docs/working_with_system_webhooks
SYSTEM_TOPICS = frozenset(
    f"event:klaviyo.{name}"
    for name in (
        "subscribed_to_email_marketing",
        "subscribed_to_list",
        "unsubscribed_from_email_marketing",
        "unsubscribed_from_list",
        "bounced_email",
        "dropped_email",
        "marked_email_as_spam",
        "manually_suppressed_from_email_marketing",
        "manually_unsuppressed_from_email_marketing",
        "updated_email_preferences",
        "subscribed_to_sms_marketing",
        "subscribed_to_text_messaging_marketing",
        "unsubscribed_from_sms_marketing",
        "unsubscribed_from_text_messaging_marketing",
        "failed_to_deliver_sms",
        "failed_to_deliver_text_message",
    )
)


def webhook_name(tenant: str) -> str:
    """Return the name of a tenant's system webhook. The webhook is found by its name, because Klaviyo masks addresses."""
    return f"Omneo {tenant}"


def system_webhook_path(tenant: str) -> str:
    """Return the path that Klaviyo's system webhooks call."""
    return f"/{tenant}/api/v1/webhooks/klaviyo/system"


def omneo_webhook_path(tenant: str) -> str:
    """Return the path that Omneo's webhooks call."""
    return f"/{tenant}/api/v1/webhooks/omneo"
