"""Klaviyo's sheet of endpoints, written down once more: what scopes and limits the sandbox's endpoints of profiles, consent,
lists, metrics and events have.
"""

from collections.abc import Iterator

import pytest

from deploy.local.sandbox import Sandbox
from tests.deploy.local.sandbox.klaviyo.calls import ACCOUNT, Caller
from tests.deploy.local.sandbox.times import NOON

ALL = (
    "accounts:read events:write events:read metrics:read profiles:read profiles:write lists:read lists:write"
    " subscriptions:read subscriptions:write data-privacy:write"
)
# method, path, scopes, calls a second, calls a minute
SHEET = [
    ("GET", "/api/events", "events:read", 350, 3500),
    ("GET", "/api/metrics", "metrics:read", 10, 150),
    ("POST", "/api/profile-import", "profiles:write", 75, 750),
    ("GET", "/api/profiles", "profiles:read", 75, 750),
    ("POST", "/api/profiles", "profiles:write", 75, 750),
    ("GET", "/api/profiles/01HX", "profiles:read", 75, 750),
    ("PATCH", "/api/profiles/01HX", "profiles:write", 75, 750),
    ("POST", "/api/profile-merge", "profiles:write", 10, 150),
    (
        "POST",
        "/api/profile-subscription-bulk-create-jobs",
        "lists:write profiles:write subscriptions:write",
        75,
        750,
    ),
    (
        "POST",
        "/api/profile-subscription-bulk-delete-jobs",
        "lists:write profiles:write subscriptions:write",
        75,
        750,
    ),
    ("POST", "/api/profile-suppression-bulk-create-jobs", "profiles:write subscriptions:write", 75, 750),
    ("POST", "/api/profile-suppression-bulk-delete-jobs", "subscriptions:write", 75, 750),
    ("GET", "/api/profile-suppression-bulk-create-jobs/01HX", "subscriptions:read", 75, 750),
    ("GET", "/api/profile-suppression-bulk-delete-jobs/01HX", "subscriptions:read", 75, 750),
    ("GET", "/api/lists", "lists:read", 75, 750),
    ("GET", "/api/lists/nEwSxx", "lists:read", 75, 750),
    ("GET", "/api/lists/nEwSxx/profiles", "lists:read profiles:read", 75, 750),
    ("POST", "/api/lists/nEwSxx/relationships/profiles", "lists:write profiles:write", 10, 150),
    ("DELETE", "/api/lists/nEwSxx/relationships/profiles", "lists:write profiles:write", 10, 150),
    ("GET", "/api/profiles/01HX/lists", "lists:read profiles:read", 3, 60),
    ("GET", "/api/profiles/01HX/relationships/lists", "lists:read profiles:read", 3, 60),
    ("POST", "/api/profile-bulk-import-jobs", "lists:write profiles:write", 10, 150),
    ("GET", "/api/profile-bulk-import-jobs/01HX", "lists:read profiles:read", 10, 150),
    ("GET", "/api/profile-bulk-import-jobs/01HX/import-errors", "profiles:read", 10, 150),
    ("POST", "/api/data-privacy-deletion-jobs", "data-privacy:write", 3, 60),
]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(clock=lambda: NOON, seed=1, token_prefix="canary-token") as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def call(sandbox: Sandbox) -> Caller:
    return Caller(sandbox)


@pytest.mark.parametrize(("method", "path", "scopes", "burst", "steady"), SHEET)
def test_an_endpoint_asks_for_each_of_its_scopes_and_no_other(
    sandbox: Sandbox, call: Caller, method: str, path: str, scopes: str, burst: int, steady: int
) -> None:
    body: object = None if method == "GET" else {}
    for missing in scopes.split():
        kept = " ".join(scope for scope in ALL.split() if scope != missing)
        token = sandbox.klaviyo.install(ACCOUNT, scopes=kept).access_token
        answer = call(method, path, body, bearer=token)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (403, "permission_denied")
    token = sandbox.klaviyo.install(ACCOUNT, scopes=scopes).access_token
    allowed = call(method, path, body, bearer=token)
    assert allowed.status_code in (200, 400, 404)
    assert allowed.headers["RateLimit-Limit"] == f"{burst}, {burst};w=1, {steady};w=60"


def test_a_burst_over_the_limit_is_throttled_for_every_profile_at_once(
    sandbox: Sandbox, call: Caller
) -> None:
    sandbox.advance(120)
    paths = [f"/api/profiles/{number}/relationships/lists" for number in range(4)]
    answers = [call("GET", path, later=0) for path in paths]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
    assert answers[3].headers["Retry-After"] == "1"
