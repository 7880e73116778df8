"""Klaviyo's profiles and lists: one method per endpoint. No rules about what to send live here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.consent_events import Consent
from shared.errors import NotFoundError
from shared.klaviyo.consent_jobs import ConsentCalls, Person
from shared.klaviyo.filters import equals
from shared.klaviyo.json_api import read, rows_of, segment
from shared.klaviyo.limits import Endpoint

_SUBSCRIPTIONS = {"additional-fields[profile]": "subscriptions"}


@dataclass(frozen=True)
class KlaviyoProfile:
    """A profile as Klaviyo shows it. `subscriptions` is Klaviyo's own, channel by channel."""

    id: str
    email: str = field(default="", repr=False)
    external_id: str = ""
    subscriptions: Mapping[str, Any] = field(default_factory=dict)
    phone_number: str = field(default="", repr=False)

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> "KlaviyoProfile":
        """Read a profile resource, or raise an error that `read` turns into a WaitError."""
        attributes = row["attributes"]
        profile = cls(
            id=str(row["id"]),
            email=_text(attributes.get("email")),
            external_id=_text(attributes.get("external_id")),
            subscriptions={**(attributes.get("subscriptions") or {})},
            phone_number=_text(attributes.get("phone_number")),
        )
        for name in ("suppression", "list_suppressions"):
            profile._marketing_rows(name)
        return profile

    def reasons_off(self, list_id: str) -> frozenset[str]:
        """Return why Klaviyo sends this profile no email of the list; empty if it does send them."""
        rows = self._marketing_rows("list_suppressions")
        return frozenset(str(row.get("reason")) for row in rows if row.get("list_id") == list_id)

    def _marketing_rows(self, name: str) -> list[dict[str, Any]]:
        email = self.subscriptions.get("email") or {}
        return [{**row} for row in (email.get("marketing") or {}).get(name) or ()]


class ProfileCalls(ConsentCalls):
    """Calls about one profile, its consent among them, or its place on a list."""

    def import_profile(self, resource: Mapping[str, Any]) -> KlaviyoProfile:
        """Create or update the profile of `resource`, and return it with its subscriptions.

        It is found by its id or, without one, by any identifier. Repeating this call is harmless.

        Raises:
            NotFoundError: `resource` names an id that Klaviyo does not know.
            RefusedError: 400 names the `field`; 409 says in `duplicate_of` whose an identifier is.
        """
        # https://developers.klaviyo.com/en/reference/create_or_update_profile
        body = {"data": resource}
        answer = self._send(
            Endpoint.PROFILE_IMPORT, "POST", "/api/profile-import", params=_SUBSCRIPTIONS, body=body
        )
        return read(lambda body: with_subscriptions(body["data"]), answer)

    def create_profile(self, resource: Mapping[str, Any]) -> KlaviyoProfile:
        """Create the profile of `resource`, and return it with its subscriptions. An existing profile is never changed.

        Raises:
            RefusedError: 400 names the `field`; 409 says in `duplicate_of` whose an identifier is.
        """
        # https://developers.klaviyo.com/en/reference/create_profile
        answer = self._send(
            Endpoint.CREATE_PROFILE, "POST", "/api/profiles", params=_SUBSCRIPTIONS, body={"data": resource}
        )
        return read(lambda body: with_subscriptions(body["data"]), answer)

    def merge_profiles(self, source: str, into: str) -> None:
        """Ask Klaviyo to merge a profile into another, which keeps its own values. Klaviyo does so later. A repeat is harmless.

        Raises:
            NotFoundError: the profile no longer exists.
        """
        # https://developers.klaviyo.com/en/reference/merge_profiles
        rows = {"profiles": {"data": [{"type": "profile", "id": source}]}}
        self._post(
            Endpoint.MERGE_PROFILES,
            "/api/profile-merge",
            {"data": {"type": "profile-merge", "id": into, "relationships": rows}},
        )

    def profile(self, id: str) -> KlaviyoProfile | None:
        """Return the profile with its subscriptions, None if there is none. For a merged profile, Klaviyo returns the other one."""
        # https://developers.klaviyo.com/en/reference/get_profile
        try:
            answer = self._get(Endpoint.READ_PROFILE, f"/api/profiles/{segment(id)}", _SUBSCRIPTIONS)
        except NotFoundError:
            return None
        return read(lambda body: KlaviyoProfile.read(body["data"]), answer)

    def find_profile_by_external_id(self, external_id: str) -> KlaviyoProfile | None:
        """Return the profile with its subscriptions, None if there is none."""
        return self.find_profile("external_id", external_id)

    def find_profile(self, identifier: str, value: str) -> KlaviyoProfile | None:
        """Return the profile with this `external_id`, `email` or `phone_number`; None if there is none."""
        # https://developers.klaviyo.com/en/reference/get_profiles
        answer = self._get(
            Endpoint.READ_PROFILES, "/api/profiles", {"filter": equals(identifier, value), **_SUBSCRIPTIONS}
        )
        rows = read(lambda body: [KlaviyoProfile.read(row) for row in rows_of(body)], answer)
        return rows[0] if rows else None

    def check_list(self, list_id: str) -> None:
        """Check that the list exists.

        Raises:
            NotFoundError: there is no such list.
        """
        # https://developers.klaviyo.com/en/reference/get_list
        self._get(Endpoint.READ_LIST, f"/api/lists/{segment(list_id)}")

    def is_on_list(self, list_id: str, email: str) -> bool:
        """Return whether the profile with this email is a member of the list, whatever its consent."""
        # https://developers.klaviyo.com/en/reference/get_profiles_for_list
        path = f"/api/lists/{segment(list_id)}/profiles"
        answer = self._get(Endpoint.READ_LIST_PROFILES, path, {"filter": equals("email", email)})
        return read(lambda body: bool([{**row} for row in rows_of(body)]), answer)

    def subscribe_to_email(self, profile: KlaviyoProfile, list_id: str) -> None:
        """Ask Klaviyo to subscribe a profile to email and to a list. See `subscribe`."""
        self.subscribe(Person(profile.id, profile.email), [Consent.EMAIL], list_id=list_id)


def with_subscriptions(row: Mapping[str, Any]) -> KlaviyoProfile:
    """Read a profile resource with subscriptions, or raise an error that `read` turns into a WaitError."""
    # Without the subscriptions, an opt-out would look like a profile without any decision.
    if not isinstance(row["attributes"]["subscriptions"], dict):
        raise TypeError("no subscriptions")
    return KlaviyoProfile.read(row)


def _text(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raise TypeError("not a text")
