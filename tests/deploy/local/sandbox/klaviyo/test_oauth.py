"""The sandbox's token endpoint: grants, refusals, and what becomes of the tokens."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from deploy.local.sandbox import Sandbox
from tests.deploy.local.sandbox.times import NOON

CLIENT = ("canary-client-id", "canary-client-secret")
Refresh = Callable[..., requests.Response]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(
        clock=lambda: NOON,
        token_prefix="canary-token",
        client_id=CLIENT[0],
        client_secret=CLIENT[1],
    ) as sandbox:
        yield sandbox


@pytest.fixture
def refresh(sandbox: Sandbox) -> Refresh:
    def refresh(token: str, **changes: Any) -> requests.Response:
        form = {"grant_type": "refresh_token", "refresh_token": token}
        url = f"{sandbox.klaviyo.url}/oauth/token"
        return requests.post(url, timeout=60, **{"data": form, "auth": CLIENT, **changes})

    return refresh


def status_of_a_call(sandbox: Sandbox, access_token: str) -> int:
    """Return 401 for a token that does not work; an empty event is 400 for one that does."""
    headers = {
        "Authorization": f"Bearer {access_token}",
        "revision": "2026-10-15",
        "Content-Type": "application/vnd.api+json",
    }
    url = f"{sandbox.klaviyo.url}/api/events"
    return requests.post(url, data=b"{}", headers=headers, timeout=60).status_code


def test_a_refresh_gives_a_new_access_token_and_the_old_one_works_on(
    sandbox: Sandbox, refresh: Refresh
) -> None:
    first = sandbox.klaviyo.install("WBhXHN", scopes="accounts:read events:write")
    answer = refresh(first.refresh_token)
    assert answer.status_code == 200
    body = answer.json()
    assert body.pop("access_token") not in ("", first.access_token)
    assert body == {
        "token_type": "bearer",
        "expires_in": 3600,
        "refresh_token": first.refresh_token,
        "scope": "accounts:read events:write",
    }
    assert status_of_a_call(sandbox, answer.json()["access_token"]) == 400
    assert status_of_a_call(sandbox, first.access_token) == 400


def test_an_access_token_works_until_its_hour_is_over(sandbox: Sandbox) -> None:
    token = sandbox.klaviyo.install("WBhXHN").access_token
    sandbox.advance(3599)
    assert status_of_a_call(sandbox, token) == 400
    sandbox.advance(1)
    assert status_of_a_call(sandbox, token) == 401


def test_an_access_token_can_be_ended_and_given_a_shorter_life(sandbox: Sandbox) -> None:
    token = sandbox.klaviyo.install("WBhXHN").access_token
    sandbox.klaviyo.expire(token)
    assert status_of_a_call(sandbox, token) == 401
    sandbox.klaviyo.oauth.access_token_seconds = 5
    short = sandbox.klaviyo.install("WBhXHN")
    assert short.expires_in == 5
    sandbox.advance(5)
    assert status_of_a_call(sandbox, short.access_token) == 401


def test_a_rotated_refresh_token_ends_the_one_before(sandbox: Sandbox, refresh: Refresh) -> None:
    sandbox.klaviyo.oauth.rotates = True
    first = sandbox.klaviyo.install("WBhXHN")
    second = refresh(first.refresh_token).json()["refresh_token"]
    assert second != first.refresh_token
    assert refresh(first.refresh_token).json()["error"] == "invalid_grant"
    assert refresh(second).status_code == 200


def test_a_revoked_refresh_token_is_refused_and_its_access_token_works_on(
    sandbox: Sandbox, refresh: Refresh
) -> None:
    tokens = sandbox.klaviyo.install("WBhXHN")
    sandbox.klaviyo.revoke(tokens.refresh_token)
    answer = refresh(tokens.refresh_token)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert status_of_a_call(sandbox, tokens.access_token) == 400


def test_an_uninstalled_account_has_no_tokens_left_and_others_keep_theirs(
    sandbox: Sandbox, refresh: Refresh
) -> None:
    gone, stays = sandbox.klaviyo.install("WBhXHN"), sandbox.klaviyo.install("OTHER1")
    sandbox.klaviyo.uninstall("WBhXHN")
    assert status_of_a_call(sandbox, gone.access_token) == 401
    assert refresh(gone.refresh_token).json()["error"] == "invalid_grant"
    assert status_of_a_call(sandbox, stays.access_token) == 400
    assert refresh(stays.refresh_token).status_code == 200


@pytest.mark.parametrize(
    ("changes", "status", "codes"),
    [
        ({"auth": None}, 401, ("invalid_client", "invalid_client")),
        ({"auth": ("canary-client-id", "wrong")}, 401, ("invalid_client", "invalid_client")),
        (
            {"auth": None, "headers": {"Authorization": "Basic !"}},
            401,
            ("invalid_client", "invalid_client"),
        ),
        (
            {"data": None, "json": {"grant_type": "refresh_token"}},
            400,
            ("invalid_request", "invalid_grant_type"),
        ),
        ({"data": {"grant_type": "password"}}, 400, ("unsupported_grant_type", "invalid_grant_type")),
        ({"data": {"grant_type": "refresh_token"}}, 400, ("invalid_grant", "invalid_grant_type")),
    ],
)
def test_refusals_in_the_rfcs_spelling_and_in_the_docs(
    sandbox: Sandbox, refresh: Refresh, changes: dict[str, Any], status: int, codes: tuple[str, str]
) -> None:
    token = sandbox.klaviyo.install("WBhXHN").refresh_token
    for docs_spelling, code in enumerate(codes):
        sandbox.klaviyo.oauth.docs_spelling = bool(docs_spelling)
        answer = refresh(token, **changes)
        assert (answer.status_code, answer.json()["error"]) == (status, code)
        assert answer.json()["error_description"]


def test_the_eleventh_refresh_of_a_minute_is_throttled_for_that_install_alone(
    sandbox: Sandbox, refresh: Refresh
) -> None:
    busy, other = sandbox.klaviyo.install("WBhXHN"), sandbox.klaviyo.install("OTHER1")
    assert [refresh(busy.refresh_token).status_code for _ in range(10)] == [200] * 10
    limited = refresh(busy.refresh_token)
    assert limited.status_code == 429
    assert 1 <= int(limited.headers["Retry-After"]) <= 60
    assert refresh(other.refresh_token).status_code == 200
    sandbox.advance(60)
    assert refresh(busy.refresh_token).status_code == 200


def test_a_wrong_method_is_405(sandbox: Sandbox) -> None:
    assert requests.get(f"{sandbox.klaviyo.url}/oauth/token", timeout=60).status_code == 405
