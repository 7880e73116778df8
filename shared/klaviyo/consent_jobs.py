"""Klaviyo's jobs that change consent, suppress and erase: one method per endpoint. The callers decide for whom.

Success means that Klaviyo has accepted the job. It carries the job out later, and reports no result.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.consent_events import Consent
from shared.errors import NotFoundError
from shared.klaviyo.json_api import JsonApi
from shared.klaviyo.limits import Endpoint

SOURCE = "omneo"  # Klaviyo stores it with the consent, so it marks our own calls


@dataclass(frozen=True)
class Person:
    """The person of a job: the profile's id, and the address of each channel that the job names."""

    id: str
    email: str = field(default="", repr=False)
    phone_number: str = field(default="", repr=False)


class ConsentCalls(JsonApi):
    """The calls that start these jobs."""

    def subscribe(self, person: Person, consents: Collection[Consent], *, list_id: str = "") -> None:
        """Ask Klaviyo to subscribe a person with our mark, and to put the person on the list if one is named.

        The opt-in setting of the list, or without a list of the account, decides whether Klaviyo asks the person first. Repeating this
        call is harmless.
        """
        # https://developers.klaviyo.com/en/reference/bulk_subscribe_profiles
        job = "profile-subscription-bulk-create-job"
        row = {"type": "profile", "id": person.id, "attributes": _attributes(person, consents, "SUBSCRIBED")}
        attributes = {
            "custom_source": SOURCE,
            "historical_import": False,
            "profiles": {"data": [row]},
        }
        self._start(
            Endpoint.SUBSCRIBE,
            job,
            attributes,
            {"list": {"data": {"type": "list", "id": list_id}}} if list_id else {},
        )

    def unsubscribe(self, person: Person, consents: Collection[Consent]) -> None:
        """Ask Klaviyo to unsubscribe a person everywhere. Klaviyo finds the person by the addresses. A repeat is harmless."""
        # https://developers.klaviyo.com/en/reference/bulk_unsubscribe_profiles. Never with a list: who is not on it would be
        # unsubscribed everywhere, and who is on it from the list alone.
        job = "profile-subscription-bulk-delete-job"
        row = {"type": "profile", "attributes": _attributes(person, consents, "UNSUBSCRIBED")}
        self._start(Endpoint.UNSUBSCRIBE, job, {"profiles": {"data": [row]}})

    def suppress(self, email: str) -> None:
        """Ask Klaviyo to send no more email to an address. A repeat is harmless."""
        # https://developers.klaviyo.com/en/reference/bulk_suppress_profiles
        row = {"type": "profile", "attributes": {"email": email}}
        self._start(Endpoint.SUPPRESS, "profile-suppression-bulk-create-job", {"profiles": {"data": [row]}})

    def request_deletion(self, profile_id: str) -> None:
        """Ask Klaviyo to delete a profile and all its data for good. A missing profile counts as deleted.

        Repeating this call is harmless.
        """
        # https://developers.klaviyo.com/en/reference/request_profile_deletion
        row = {"type": "profile", "id": profile_id, "attributes": {}}
        try:
            self._start(Endpoint.DELETE_PROFILE, "data-privacy-deletion-job", {"profile": {"data": row}})
        except NotFoundError:
            return

    def _start(
        self,
        endpoint: Endpoint,
        job: str,
        attributes: Mapping[str, Any],
        relationships: Mapping[str, Any] | None = None,
    ) -> None:
        related = {"relationships": relationships} if relationships else {}
        self._post(endpoint, f"/api/{job}s", {"data": {"type": job, "attributes": attributes, **related}})


def _attributes(person: Person, consents: Collection[Consent], wanted: str) -> dict[str, Any]:
    asked = {"consent": wanted}
    sms = {
        kind: asked
        for kind, consent in (("marketing", Consent.SMS), ("transactional", Consent.SMS_TRANSACTIONAL))
        if consent in consents
    }
    has_email = Consent.EMAIL in consents
    return {
        **({"email": person.email} if has_email else {}),
        **({"phone_number": person.phone_number} if sms else {}),
        "subscriptions": {
            **({"email": {"marketing": asked}} if has_email else {}),
            **({"sms": sms} if sms else {}),
        },
    }
