"""The consents of a profile, and the reasons why Klaviyo does not send to it: the state and its shape, no events.

Klaviyo's OpenAPI file ("Subscriptions") and page "Bulk Subscribe Profiles": subscribing lifts UNSUBSCRIBE, spam and
USER_SUPPRESSED suppressions, never a hard bounce or an invalid address; SMS has no `custom_method_detail`.

Assumed (suppression-keeps-consent):
- Unsubscribing from email globally adds the suppression UNSUBSCRIBE; `method` and its details stay those of the last
  subscribing. Subscribing again, or unsubscribing again, writes the record anew.
- `can_receive_email_marketing` asks for suppressions alone, as its description says, whatever the consent and even
  without an address; the others ask for the consent.
- A reason is listed once, with the time it was first added.
- `open_tracking`, `click_tracking` and WhatsApp are not kept: they are null.
"""

from dataclasses import dataclass, field
from typing import Any

from deploy.local.sandbox.klaviyo.documents import iso

NEVER, SUBSCRIBED, UNSUBSCRIBED = "NEVER_SUBSCRIBED", "SUBSCRIBED", "UNSUBSCRIBED"
HARD_BOUNCE, SPAM_COMPLAINT = "HARD_BOUNCE", "SPAM_COMPLAINT"
UNSUBSCRIBE, USER_SUPPRESSED = "UNSUBSCRIBE", "USER_SUPPRESSED"
CHANNELS = ("email", "sms", "sms_transactional", "push")
_LIFTED_BY_SUBSCRIBING = frozenset({UNSUBSCRIBE, SPAM_COMPLAINT, USER_SUPPRESSED})


@dataclass(frozen=True)
class Method:
    """The way of a subscription: Klaviyo's word for it, its details, and the source that the caller of the API gave."""

    name: str = "PREFERENCE_PAGE"
    detail: str | None = None
    custom_detail: str | None = None
    double_optin: bool = False


@dataclass
class Consent:
    """The consent of one channel. Times are Unix seconds, `at` the one of the consent itself."""

    status: str = NEVER
    at: float | None = None
    updated_at: float | None = None
    method: Method | None = None

    def give(self, method: Method, *, at: float, now: float) -> bool:
        """Become subscribed; returns whether it was not before."""
        changed = self.status != SUBSCRIBED
        self.status, self.method, self.at, self.updated_at = SUBSCRIBED, method, at, now
        return changed

    def withdraw(self, *, at: float, now: float) -> bool:
        """Become unsubscribed; returns whether it was not before."""
        changed = self.status != UNSUBSCRIBED
        self.status, self.at, self.updated_at = UNSUBSCRIBED, at, now
        return changed

    def shown(self) -> dict[str, Any]:
        """Return the fields that every channel shows."""
        return {"consent": self.status, "consent_timestamp": _iso(self.at)}

    def shown_with_method(self) -> dict[str, Any]:
        """Return the fields that email and SMS show."""
        return {
            **self.shown(),
            "last_updated": _iso(self.updated_at),
            "method": self.method and self.method.name,
            "method_detail": self.method and self.method.detail,
        }


@dataclass(frozen=True)
class Suppression:
    """Why no email is sent; with a `list_id`, why none is sent to that list."""

    reason: str
    at: float
    list_id: str | None = None


@dataclass
class Subscriptions:
    """All consent of one profile."""

    consents: dict[str, Consent] = field(default_factory=lambda: {name: Consent() for name in CHANNELS})
    suppressions: list[Suppression] = field(default_factory=list)

    def is_suppressed(self, reason: str, list_id: str | None = None) -> bool:
        """Return whether the reason is listed, globally or for the list."""
        return any((row.reason, row.list_id) == (reason, list_id) for row in self.suppressions)

    def suppress(self, reason: str, at: float, list_id: str | None = None) -> bool:
        """Add a reason; returns whether it was not listed before."""
        if self.is_suppressed(reason, list_id):
            return False
        self.suppressions.append(Suppression(reason, at, list_id))
        return True

    def unsuppress(self) -> bool:
        """Take away USER_SUPPRESSED alone; returns whether it was listed."""
        was = self.is_suppressed(USER_SUPPRESSED)
        self.suppressions = [
            row for row in self.suppressions if (row.reason, row.list_id) != (USER_SUPPRESSED, None)
        ]
        return was

    def lift(self, list_id: str | None) -> None:
        """Remove the suppressions that a subscription lifts, globally and for its list."""
        self.suppressions = [
            row
            for row in self.suppressions
            if row.list_id not in (None, list_id) or row.reason not in _LIFTED_BY_SUBSCRIBING
        ]

    def to_json(self) -> dict[str, Any]:
        """Return it as a profile's `subscriptions` show it."""
        sms, transactional = self.consents["sms"], self.consents["sms_transactional"]
        push = self.consents["push"]
        return {
            "email": {"marketing": self._email(), "open_tracking": None, "click_tracking": None},
            "sms": {
                "marketing": {
                    "can_receive_sms_marketing": sms.status == SUBSCRIBED,
                    **sms.shown_with_method(),
                },
                "transactional": {
                    "can_receive_sms_transactional": transactional.status == SUBSCRIBED,
                    **transactional.shown_with_method(),
                },
            },
            "mobile_push": {
                "marketing": {"can_receive_push_marketing": push.status == SUBSCRIBED, **push.shown()}
            },
            "whatsapp": None,
        }

    def _email(self) -> dict[str, Any]:
        consent = self.consents["email"]
        everywhere = [row for row in self.suppressions if row.list_id is None]
        return {
            "can_receive_email_marketing": not everywhere,
            **consent.shown_with_method(),
            "custom_method_detail": consent.method and consent.method.custom_detail,
            "double_optin": consent.method and consent.method.double_optin,
            "suppression": [{"reason": row.reason, "timestamp": iso(row.at)} for row in everywhere],
            "list_suppressions": [
                {"list_id": row.list_id, "reason": row.reason, "timestamp": iso(row.at)}
                for row in self.suppressions
                if row.list_id is not None
            ],
        }


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else iso(seconds)
