"""Calls to the sandbox's Klaviyo as an installed app makes them, and the answers in short."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import requests

from deploy.local.sandbox import Sandbox

ACCOUNT = "WBhXHN"
JANE = "canary-jane@example.org"
JANES_PHONE = "+61400000001"


class Caller:
    """Calls five seconds after the last call, so that no limit is in the way."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._token = sandbox.klaviyo.install(ACCOUNT).access_token

    def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        bearer: str = "",
        later: float = 5,
        params: Mapping[str, Any] | None = None,
    ) -> requests.Response:
        self._sandbox.advance(later)
        headers = {"Authorization": f"Bearer {bearer or self._token}", "revision": "2026-10-15"}
        if body is not None:
            headers["Content-Type"] = "application/vnd.api+json"
        data = None if body is None else json.dumps(body)
        url = f"{self._sandbox.klaviyo.url}{path}"
        return requests.request(method, url, params=params, data=data, headers=headers, timeout=60)

    def subscriptions(self, profile_id: str) -> dict[str, Any]:
        """Return the subscriptions that the API shows."""
        answer = self("GET", f"/api/profiles/{profile_id}?additional-fields[profile]=subscriptions")
        assert answer.status_code == 200
        shown: dict[str, Any] = answer.json()["data"]["attributes"]["subscriptions"]
        return shown


def filtered(path: str, text: str) -> str:
    """Return the path with a filter."""
    return f"{path}?filter={quote(text)}"


def email_state(subscriptions: dict[str, Any]) -> tuple[str, list[str]]:
    """Return the consent to email and the reasons of global suppressions."""
    marketing = subscriptions["email"]["marketing"]
    return marketing["consent"], [row["reason"] for row in marketing["suppression"]]


def recorded(sandbox: Sandbox) -> list[str]:
    """Return the topics of Klaviyo's own events, without their common beginning, in the order of recording."""
    events = sandbox.klaviyo.events(ACCOUNT)
    return [event.topic.removeprefix("event:klaviyo.") for event in events if event.topic]


def problems_of(answer: requests.Response) -> list[str]:
    """Return where a refusal says that something is wrong."""
    sources = [error["source"] for error in answer.json()["errors"]]
    return [source.get("pointer") or source.get("parameter", "") for source in sources]
