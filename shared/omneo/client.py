"""Omneo's API, one method per endpoint, over the one HTTP core. No rules about the use of an answer live here.

verdicts.py decides whether an answer is Omneo's own, envelopes.py opens it, models.py holds what is in it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pydantic import SecretStr, ValidationError

from shared.errors import NotFoundError, RefusedError, UnsureError, WaitError
from shared.http.client import HttpClient
from shared.http.paths import path_segment
from shared.http.strangers import is_strangers
from shared.omneo.envelopes import (
    next_page,
    profiles_in,
    read_as,
    rows_in,
    rows_or_wait,
    thing_in,
    token_expiry,
)
from shared.omneo.models import (
    IdToken,
    Interaction,
    OmneoWebhook,
    Profile,
    ProfilesPage,
    Reward,
    RewardDefinition,
)
from shared.omneo.verdicts import read_problem

# The models too: a caller of a method reads its answer.
__all__ = [
    "IdToken",
    "Interaction",
    "OmneoClient",
    "Profile",
    "ProfilesPage",
    "Reward",
    "RewardDefinition",
    "base_url",
    "read_problem",
]

_segment = partial(path_segment, service="Omneo")


class OmneoClient:
    """Calls one tenant's Omneo. Every method raises the errors of `HttpClient.call`."""

    def __init__(self, http: HttpClient, token: SecretStr) -> None:
        self._http = http
        self._token = token

    def mint_id_token(self, *, profile_id: str) -> IdToken:
        """Return a short-lived token for the Omneo profile."""
        return self._mint({"id": profile_id})

    def mint_id_token_by_identity(self, *, identifier: str, handle: str) -> IdToken:
        """Return a short-lived token for the profile that holds the identity."""
        return self._mint({"id": identifier, "id_handle": handle})

    def profile(self, id: str) -> Profile | None:
        """Return the profile, None when there is none."""
        # https://docs.omneo.io/dev-guides/profiles/working-with-profiles
        fields = self.profile_fields(id)
        return None if fields is None else read_as(Profile, fields, "profile")

    def profile_fields(self, id: str) -> Mapping[str, Any] | None:
        """Return all fields that Omneo shows of the profile, None when there is no profile."""
        try:
            path = f"/api/v3/profiles/{_segment(id)}"
            fields = thing_in(self._call("GET", path), "profile")
        except NotFoundError:
            return None
        except UnsureError as doubt:
            fields = self._asked_again(
                doubt,
                id,
                lambda: self._call("GET", path),
                lambda known: self._call("GET", f"/api/v3/profiles/{_segment(known['id'])}"),
            )
            if fields is None:
                return None
        if not isinstance(fields, dict) or str(fields.get("id")).casefold() != id.casefold():
            raise WaitError("Omneo answered with a profile that cannot be read", service="Omneo")
        return fields

    def profiles_page(
        self,
        number: int,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        made_since: datetime | None = None,
        size: int = 100,
    ) -> ProfilesPage:
        """Return a page of profiles, oldest first: profiles that changed from `since` on and before `until`, and were made from
        `made_since` on.
        """
        # https://docs.omneo.io/dev-guides/profiles/working-with-profiles; filters and pages as Omneo's SDKs have them.
        params = {"page[size]": str(size), "page[number]": str(number), "sort": "created_at"}
        for name, at in (
            ("updated_at][gte", since),
            ("updated_at][lt", until),
            ("created_at][gte", made_since),
        ):
            if at is not None:
                params[f"filter[{name}]"] = f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        body = self._listed("/api/v3/profiles", params)
        try:
            rows = [row for row in rows_in(body) if isinstance(row, dict)]
            meta = body["meta"]
            return ProfilesPage(tuple(rows), pages=int(meta["last_page"]), total=int(meta["total"]))
        except (TypeError, KeyError, ValueError):
            raise WaitError("Omneo answered with a page that cannot be read", service="Omneo") from None

    def create_identity(self, profile_id: str, *, handle: str, identifier: str) -> None:
        """Add an identity to a profile. Omneo refuses an identity that any profile holds already."""
        # Omneo's SDKs; https://docs.omneo.io/dev-guides/profiles/working-with-identities
        path = f"/api/v3/profiles/{_segment(profile_id)}/identities"
        self._call("POST", path, body={"handle": handle, "identifier": identifier, "is_active": True})

    def update_identity(self, profile_id: str, *, handle: str, identifier: str) -> None:
        """Replace the identifier of a profile's identity; NotFoundError if the profile has none of the handle."""
        path = f"/api/v3/profiles/{_segment(profile_id)}/identities/{_segment(handle)}"
        self._call("PUT", path, body={"handle": handle, "identifier": identifier, "is_active": True})

    def update_comms(self, profile_id: str, comms: Mapping[str, Any]) -> None:
        """Change the comms fields that are named. Repeating this call is harmless."""
        # https://docs.omneo.io/business-guides/profile-design/email-mobile-consent
        try:
            self._call("PUT", f"/api/v3/profiles/{_segment(profile_id)}/attributes/comms", body=comms)
        except UnsureError as doubt:
            if self.profile_fields(profile_id) is None:
                raise NotFoundError("Omneo has no such profile", service="Omneo", status=404) from doubt
            raise

    def create_interaction(self, interaction: Interaction, namespace: str) -> None:
        """Add an interaction. It has no key in Omneo, so a repeat makes a second one with the same `meta`."""
        # https://docs.omneo.io/concepts/profiles/interactions
        self._call(
            "POST",
            "/api/v3/interactions",
            body={
                "profile_id": interaction.profile_id,
                "action": "reach",
                "channel": interaction.channel,
                "signal": interaction.signal,
                "name": interaction.name,
                "namespace": namespace,
                "description": interaction.description,
                "interacted_at": f"{interaction.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
                "meta": dict(interaction.meta),
            },
        )

    def find_profile_by_email(self, email: str) -> Profile | None:
        """Return the profile with exactly this email, in any case, None when there is none."""
        # https://docs.omneo.io: profiles are filtered by field; the SDK's findByEmail takes the first of the list.
        for profile in profiles_in(self._listed("/api/v3/profiles", {"filter[email]": email})):
            if profile.email and _folded(profile.email) == _folded(email):
                return profile
        return None

    def find_profile_by_identity(self, *, identifier: str, handle: str) -> Profile | None:
        """Return the profile that holds the identity, None when there is none."""

        # https://docs.omneo.io/reference/searchbyid; the answer for a missing profile is not documented.
        def search(type: str, id: object) -> Any:
            return self._call("POST", "/api/v3/profiles/search-id", body={"type": type, "id": id})

        try:
            found = thing_in(search(handle, identifier), "profile")
        except RefusedError as error:
            if error.status in {404, 422}:
                return None
            raise
        except UnsureError as doubt:
            found = self._asked_again(
                doubt, "", lambda: search(handle, identifier), lambda known: search("profile_id", known["id"])
            )
        if isinstance(found, list):
            found = found[0] if found else None
        return None if found in (None, {}) else read_as(Profile, found, "profile")

    def rewards_of_profile(self, profile_id: str) -> Iterator[Reward]:
        """Yield every reward of the profile; each page is read when it is needed."""
        # Omneo's SDK: GET /rewards with filter[profile_id]
        params = {"filter[profile_id]": profile_id, "sort": "-created_at", "page[size]": "100"}
        return (read_as(Reward, row, "reward") for row in self._rows("/api/v3/rewards", params))

    def reward_definition(self, id: int | str) -> RewardDefinition | None:
        """Return the definition, None when there is none."""
        try:
            answer = self._call("GET", f"/api/v3/rewards/definitions/{_segment(id)}")
        except NotFoundError:
            return None
        except UnsureError:
            return next(
                (definition for definition in self._definitions() if str(definition.id) == str(id)), None
            )
        return read_as(RewardDefinition, thing_in(answer, "reward definition"), "reward definition")

    def reward_definition_by_handle(self, handle: str) -> RewardDefinition | None:
        """Return the definition with this handle, None when there is none."""
        return next((definition for definition in self._definitions() if definition.handle == handle), None)

    def create_reward(self, reward: Mapping[str, Any]) -> Reward:
        """Make a reward and return it. Omneo may refuse a repeat or make a second reward, so the caller must prevent repeats."""
        # https://docs.omneo.io/api-reference/reward/add-reward
        answer = self._call("POST", "/api/v3/rewards", body=reward)
        return read_as(Reward, thing_in(answer, "reward"), "reward")

    def webhooks(self, namespace: str) -> list[OmneoWebhook]:
        """Return the webhooks of a namespace, active or not."""
        # https://docs.omneo.io/dev-guides/webhooks/webhooks
        params = {"filter[namespace]": namespace, "page[size]": "100"}
        return [read_as(OmneoWebhook, row, "webhook") for row in self._rows("/api/v3/webhooks", params)]

    def create_webhook(self, trigger: str, url: str, namespace: str) -> None:
        """Make a disabled webhook, which a person enables in CX Manager. Omneo refuses a second one for the same trigger and URL."""
        self._call(
            "POST",
            "/api/v3/webhooks",
            body={
                "trigger": trigger,
                "url": url,
                "namespace": namespace,
                "is_active": False,
                "queue": "default",
                "retry_hourly": True,
                "retry_daily": True,
            },
        )

    def update_webhook_url(self, id: int, url: str) -> None:
        """Let a webhook call another address, and leave everything else as it is."""
        self._call("PUT", f"/api/v3/webhooks/{id}", body={"url": url})

    def delete_webhook(self, id: int) -> None:
        """Remove a webhook; NotFoundError if it is gone already."""
        self._call("DELETE", f"/api/v3/webhooks/{id}")

    def verify_token(self) -> datetime | None:
        """Return when the token expires, None if Omneo does not say; raise TokenRejectedError if Omneo does not accept it."""
        # Omneo's SDK: GET /auth/verify. Any 2xx means accepted, because no public source documents its body.
        return token_expiry(self._call("GET", "/api/v3/auth/verify", any_success=True))

    def _rows(self, path: str, params: Mapping[str, str]) -> Iterator[Any]:
        """Yield the rows of a list, page by page."""
        asked = dict(params)
        while asked:
            body = self._listed(path, asked)
            try:
                rows, asked = rows_in(body), next_page(body, asked)
            except (TypeError, KeyError, AttributeError, ValueError):
                raise WaitError(
                    "Omneo answered with a list that cannot be read", service="Omneo", status=200
                ) from None
            yield from rows

    def _definitions(self) -> Iterator[RewardDefinition]:
        rows = self._rows("/api/v3/rewards/definitions", {"page[size]": "100"})
        return (read_as(RewardDefinition, row, "reward definition") for row in rows)

    def _listed(self, path: str, params: Mapping[str, str]) -> Any:
        """Return the answer of a list. An empty list has status 200, so a 404 only says that the list cannot be read now."""
        try:
            return self._call("GET", path, params=params)
        except NotFoundError as error:
            raise WaitError("Omneo answered 404 to a list", service="Omneo", status=404) from error

    def _asked_again(
        self,
        doubt: UnsureError,
        id: str,
        ask: Callable[[], Any],
        ask_for: Callable[[Mapping[str, Any]], Any],
    ) -> Any:
        """Ask again after a 404 that a gateway may have sent. Return the answer, None if Omneo itself says that there is nothing.

        A call about a profile that Omneo lists (`ask_for`) shows whether Omneo answers on this path. If so, the first call is repeated.

        Raises:
            WaitError: the gateway has answered, or nobody can tell now.
        """
        rows = rows_or_wait(self._listed("/api/v3/profiles", {"page[size]": "1"}))
        if not rows:
            return None  # of nobody
        known = rows[0]
        if not isinstance(known, dict) or not known.get("id") or str(known["id"]).casefold() == id.casefold():
            raise doubt
        try:
            read_as(Profile, thing_in(ask_for(known), "profile"), "profile")
        except (UnsureError, NotFoundError):
            raise doubt from None
        try:
            return thing_in(ask(), "profile")
        except (UnsureError, NotFoundError):
            return None

    def _mint(self, body: Mapping[str, str]) -> IdToken:
        # https://docs.omneo.io/dev-guides/frontend/omneo-id
        answer = self._call("POST", "/id/api/v1/auth/token", body=body)
        try:
            return IdToken.model_validate(answer["data"])
        except (ValidationError, TypeError, KeyError):
            raise WaitError("Omneo answered without a usable ID token", service="Omneo") from None

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        any_success: bool = False,
    ) -> Any:
        headers = {"Authorization": f"Bearer {self._token.get_secret_value()}", "Accept": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        answer = self._http.call(
            method,
            path,
            headers=headers,
            params=params,
            data=data,
            any_success=any_success,
            without_body=frozenset({204} if method == "DELETE" else ()),
        )
        if not any_success and is_strangers(answer):
            raise WaitError(
                "Omneo answered with what cannot be read, and is not its own", service="Omneo", status=200
            ) from None
        return answer


def _folded(email: str) -> bytes:
    # ASCII only: to Unicode "ß" is "ss" and the Kelvin sign is "k", and the token would be another person's.
    return email.encode(errors="surrogatepass").lower()


def base_url(template: str, tenant: str) -> str:
    """Return the root of the tenant's API. `tenant` is a checked tenant name, so nothing can escape the template.

    >>> base_url("https://api.{tenant}.getomneo.com", "acme-stg")
    'https://api.acme-stg.getomneo.com'
    """
    return template.replace("{tenant}", _segment(tenant))
