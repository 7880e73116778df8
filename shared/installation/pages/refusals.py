"""The words for a merchant when an install stops: title, what happened, what to do. Plain words, no codes."""

from dataclasses import dataclass, replace
from types import MappingProxyType

from shared.installation.visits import Refusal


@dataclass(frozen=True)
class Explanation:
    """A page that names a refusal."""

    status: int
    title: str
    message: str
    advice: str


_NOTHING_CHANGED = "Nothing was changed: an account that was connected before still is."

EXPLANATIONS = MappingProxyType(
    {
        Refusal.PREFETCHED: Explanation(
            503,
            "One moment",
            "Your browser opened this page before you did.",
            "Load the page again, and the install goes on.",
        ),
        Refusal.KLAVIYO_REFUSED: Explanation(
            400,
            "Klaviyo refused the connection",
            "Klaviyo gave a reason that this page does not know.",
            f"{_NOTHING_CHANGED} Please start again; if it happens again, ask for help.",
        ),
        Refusal.FOREIGN_FORM: Explanation(
            401,
            "This did not come from our page",
            "The request came from another site, so nothing was done.",
            "If you meant to connect Klaviyo, start here.",
        ),
        Refusal.LINK_UNREADABLE: Explanation(
            400,
            "This link cannot be read",
            "The link is not complete, or it was changed on its way.",
            "Open it again from CX Manager or from the message, or start with your installation key.",
        ),
        Refusal.LINK_SPENT: Explanation(
            410,
            "This link is no longer valid",
            "An install link works once, and for one hour.",
            "Ask for a new link in CX Manager, or start with your installation key.",
        ),
        Refusal.DENIED: Explanation(
            400,
            "Klaviyo was not connected",
            "You chose not to allow the connection in Klaviyo.",
            _NOTHING_CHANGED,
        ),
        Refusal.UNKNOWN_STATE: Explanation(
            400,
            "This step has expired",
            "It took longer than 15 minutes, or this page was opened a second time.",
            "If Klaviyo was connected a moment ago, it still is. Otherwise, please start again.",
        ),
        Refusal.OTHER_BROWSER: Explanation(
            400,
            "This was begun in another browser",
            "For your safety, an install must end in the browser that began it.",
            f"{_NOTHING_CHANGED} Start again here; cookies must be allowed.",
        ),
        Refusal.MISSING_CODE: Explanation(
            400,
            "Klaviyo's answer was incomplete",
            "Klaviyo sent you back without the code that connects the account.",
            f"{_NOTHING_CHANGED} Please start again.",
        ),
        Refusal.EXCHANGE_FAILED: Explanation(
            400,
            "Klaviyo did not complete the connection",
            "Klaviyo refused the code it had sent, which happens when it is used twice or too late.",
            f"{_NOTHING_CHANGED} Please start again.",
        ),
        Refusal.GRANT_GONE: Explanation(
            400,
            "The permission was taken back meanwhile",
            "While this page was open, the app was cancelled in another window or removed in Klaviyo.",
            f"{_NOTHING_CHANGED} Please start again.",
        ),
        Refusal.KLAVIYO_DOWN: Explanation(
            503,
            "Klaviyo does not answer at the moment",
            "The connection could not be completed because Klaviyo gave no usable answer.",
            f"{_NOTHING_CHANGED} Try again in a few minutes.",
        ),
        Refusal.QUEUES_FAILED: Explanation(
            503,
            "Almost done",
            "Klaviyo is connected, but the rest of the set-up could not be started.",
            "Start again in a few minutes; it goes on where it stopped.",
        ),
        Refusal.CANCELLED: Explanation(
            200, "Klaviyo was not connected", "You chose not to connect the two accounts.", _NOTHING_CHANGED
        ),
    }
)
OUR_FAULT = Explanation(
    500,
    "Something went wrong on our side",
    "It has been noted, and somebody will look at it.",
    "Please try again later.",
)
OUR_PAUSE = Explanation(
    503,
    "We cannot do this at the moment",
    "Our own storage or queue does not answer.",
    "Please try again in a minute.",
)

# Klaviyo's reasons, in the words of RFC 6749, section 4.1.2.1. No other text of the address is shown: anybody can write it.
_REASONS = MappingProxyType(
    {
        "invalid_scope": "the app asks for a permission that Klaviyo does not know, or that your user may not give",
        "unauthorized_client": "the app is not registered correctly with Klaviyo",
        "invalid_request": "the app asked in a way that Klaviyo does not take",
        "unsupported_response_type": "the app asked in a way that Klaviyo does not take",
        "server_error": "something went wrong at Klaviyo",
        "temporarily_unavailable": "Klaviyo is too busy at the moment",
    }
)


def explained(refusal: Refusal, reason: str = "") -> Explanation:
    """Return the words of the page; `reason` is Klaviyo's own word for a refusal."""
    explanation = EXPLANATIONS[refusal]
    if refusal is Refusal.KLAVIYO_REFUSED and reason in _REASONS:
        return replace(explanation, message=f"Klaviyo says {reason}: {_REASONS[reason]}.")
    return explanation
