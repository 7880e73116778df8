"""The webhook topics that a new Klaviyo account offers, and the names of the metrics they stand for.

Recorded answers of "Get Webhook Topics" and Klaviyo's page "Working with system webhooks". Topics are open: besides
Klaviyo's own, every metric in the account has one under its integration's name.

Assumed (metrics-are-named-by-topics): a metric's name is its topic's words in title case, as "Failed to Deliver SMS" is.
"""

_SMALL, _CAPITALS = ("to", "from", "as", "in"), ("sms", "dm", "ugc")

TOPICS = (
    "event:klaviyo.bounced_email",
    "event:klaviyo.bounced_push",
    "event:klaviyo.clicked_email",
    "event:klaviyo.clicked_email_to_unsubscribe",
    "event:klaviyo.clicked_sms",
    "event:klaviyo.clicked_text_message",
    "event:klaviyo.dropped_email",
    "event:klaviyo.failed_to_deliver_automated_response_sms",
    "event:klaviyo.failed_to_deliver_automated_response_text_message",
    "event:klaviyo.failed_to_deliver_sms",
    "event:klaviyo.failed_to_deliver_text_message",
    "event:klaviyo.manually_suppressed_from_email_marketing",
    "event:klaviyo.manually_unsuppressed_from_email_marketing",
    "event:klaviyo.marked_email_as_spam",
    "event:klaviyo.merged_profile",
    "event:klaviyo.opened_email",
    "event:klaviyo.opened_push",
    "event:klaviyo.opened_text",
    "event:klaviyo.ready_to_review",
    "event:klaviyo.received_automated_response_sms",
    "event:klaviyo.received_automated_response_text_message",
    "event:klaviyo.received_email",
    "event:klaviyo.received_push",
    "event:klaviyo.received_sms",
    "event:klaviyo.received_text_message",
    "event:klaviyo.relayed_text_message",
    "event:klaviyo.sent_sms",
    "event:klaviyo.sent_text_message",
    "event:klaviyo.skipped_send",
    "event:klaviyo.social_comment",
    "event:klaviyo.social_dm",
    "event:klaviyo.social_ugc",
    "event:klaviyo.submitted_rating",
    "event:klaviyo.submitted_review",
    "event:klaviyo.subscribed_to_back_in_stock",
    "event:klaviyo.subscribed_to_email_marketing",
    "event:klaviyo.subscribed_to_list",
    "event:klaviyo.subscribed_to_sms_marketing",
    "event:klaviyo.subscribed_to_text_messaging_marketing",
    "event:klaviyo.unsubscribed_from_email_marketing",
    "event:klaviyo.unsubscribed_from_list",
    "event:klaviyo.unsubscribed_from_sms_marketing",
    "event:klaviyo.unsubscribed_from_text_messaging_marketing",
    "event:klaviyo.unsubscribed_from_text_messaging_transactional",
    "event:klaviyo.updated_email_preferences",
    "event:api.viewed_product",
    "event:stripe.failed_payment",
)


def metric_name(topic: str) -> str:
    """Return the name of the metric that a topic stands for.

    >>> metric_name("event:klaviyo.failed_to_deliver_sms")
    'Failed to Deliver SMS'
    """
    return " ".join(_cased(word) for word in topic.partition(".")[2].split("_"))


def integration(topic: str) -> str:
    """Return the key of the integration that a topic's metric belongs to.

    >>> integration("event:klaviyo.received_sms")
    'klaviyo'
    """
    return topic.partition(":")[2].partition(".")[0]


def _cased(word: str) -> str:
    if word in _CAPITALS:
        return word.upper()
    return word if word in _SMALL else word.capitalize()
