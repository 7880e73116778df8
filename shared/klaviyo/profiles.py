"""Klaviyo's profiles, their subscriptions and lists: one method per endpoint. No rules about what to send live here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from shared.errors import NotFoundError
from shared.klaviyo.json_api import JsonApi, read

SOURCE = "omneo"  # kept by Klaviyo on the consent, and so the mark of our own calls


@dataclass(frozen=True)
class KlaviyoProfile:
    """A profile as Klaviyo shows it. `subscriptions` is Klaviyo's own, channel by channel."""

    id: str
    email: str = field(default="", repr=False)
    external_id: str = ""
    subscriptions: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> "KlaviyoProfile":
        """Read a profile resource, or raise what `read` takes for an answer that makes no sense."""
        attributes = row["attributes"]
        profile = cls(
            id=str(row["id"]),
            email=_text(attributes.get("email")),
            external_id=_text(attributes.get("external_id")),
            subscriptions={**(attributes.get("subscriptions") or {})},
        )
        for name in ("suppression", "list_suppressions"):
            profile._marketing_rows(name)
        return profile

    def reasons_off(self, list_id: str) -> frozenset[str]:
        """Return why Klaviyo sends this profile no email of the list; empty if nothing keeps it from that."""
        rows = self._marketing_rows("list_suppressions")
        return frozenset(str(row.get("reason")) for row in rows if row.get("list_id") == list_id)

    def _marketing_rows(self, name: str) -> list[dict[str, Any]]:
        email = self.subscriptions.get("email") or {}
        return [{**row} for row in (email.get("marketing") or {}).get(name) or ()]


class ProfileCalls(JsonApi):
    """Calls about one profile, or its place on a list."""

    def profile(self, id: str) -> KlaviyoProfile | None:
        """Return the profile with its subscriptions, None if there is none; one that was merged answers as the other."""
        # https://developers.klaviyo.com/en/reference/get_profile
        path = f"/api/profiles/{quote(id, safe='')}"
        try:
            answer = self._get(path, {"additional-fields[profile]": "subscriptions"})
        except NotFoundError:
            return None
        return read(lambda body: KlaviyoProfile.read(body["data"]), answer)

    def is_on_list(self, list_id: str, email: str) -> bool:
        """Return whether the profile with this email is a member of the list, whatever its consent."""
        # https://developers.klaviyo.com/en/reference/get_profiles_for_list
        path = f"/api/lists/{quote(list_id, safe='')}/profiles"
        answer = self._get(path, {"filter": f"equals(email,{json.dumps([email], ensure_ascii=False)})"})
        return read(lambda body: bool([{**row} for row in body["data"]]), answer)

    def subscribe_to_email(self, profile: KlaviyoProfile, list_id: str) -> None:
        """Ask for a profile to be subscribed to email and to a list, with our mark. Success means accepted.

        The list's opt-in decides whether Klaviyo asks the person first. Repeating this call is harmless.
        """
        # https://developers.klaviyo.com/en/reference/bulk_subscribe_profiles
        consent = {"email": {"marketing": {"consent": "SUBSCRIBED"}}}
        attributes = {"email": profile.email, "subscriptions": consent}
        rows = [{"type": "profile", "id": profile.id, "attributes": attributes}]
        self._post(
            "/api/profile-subscription-bulk-create-jobs",
            {
                "data": {
                    "type": "profile-subscription-bulk-create-job",
                    "attributes": {
                        "custom_source": SOURCE,
                        "historical_import": False,
                        "profiles": {"data": rows},
                    },
                    "relationships": {"list": {"data": {"type": "list", "id": list_id}}},
                }
            },
        )


def _text(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raise TypeError("not a text")
