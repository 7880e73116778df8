"""The admin function: who is let in, what each path answers, and what every refusal says."""

import itertools
import json
import string
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from shared.direction import Direction
from shared.installation.links import InstallLinks
from shared.jobs.jobs import Heal, read_job
from shared.klaviyo.resources import webhook_name
from shared.resync.runs import Resyncs
from shared.services import Services
from shared.settings import Settings
from shared.tenants.keys import hash_of
from shared.tenants.settings import settings_schema
from shared.tenants.tenants import InstallationKey, Tenant
from tests.functions.refusals import error_of, with_a_broken_store
from tests.support.loading import Load
from tests.support.merchant import settle
from tests.support.world import (
    ACCOUNT,
    EVERYTHING,
    EXTENSION_URL,
    INSTALLATION_KEY,
    TENANT,
    WEBHOOK_SECRET,
    World,
    lines,
)

BASE = f"/{TENANT}/api/v1"
SETTINGS, SCHEMA, STATUS = f"{BASE}/settings", f"{BASE}/settings/schema", f"{BASE}/status"
LINK, INSTALL, HEAL = f"{BASE}/install-link", f"{BASE}/install", f"{BASE}/heal"
ROUTES = [
    ("GET", SETTINGS),
    ("PUT", SETTINGS),
    ("GET", SCHEMA),
    ("GET", STATUS),
    ("POST", LINK),
    ("DELETE", INSTALL),
    ("POST", HEAL),
]
METRIC = f"{BASE}/targets/klaviyo/metric?metric=Seen"
KEY = {"Authorization": f"Bearer {INSTALLATION_KEY}"}
JSON = {"Content-Type": "application/json"}
EVENT = {"profile": {"email": "canary-jane@example.org"}}
UNKNOWN_PROFILE = f"{BASE}/profiles/01NOBODY/explain"
NEW_SECRET = "canary-new-webhook-secret"


@pytest.fixture
def admin(world: World, load: Load) -> FlaskClient:
    """Return the function, with an installed tenant in the store."""
    world.tenant()
    return load("admin", world.environment)


@pytest.fixture
def broken(world: World, load: Load, tmp_path: Path) -> FlaskClient:
    """Return the function with a store that cannot answer."""
    return load("admin", with_a_broken_store(world.environment, tmp_path))


def call(client: FlaskClient, method: str, path: str, headers: Mapping[str, str]) -> TestResponse:
    """Call as CX Manager does; a PUT carries an empty change."""
    if method == "PUT":
        return client.put(path, data=b"{}", headers={**headers, **JSON})
    return client.open(path, method=method, headers=dict(headers))


def test_the_status_knows_of_an_install_at_once(world: World, load: Load) -> None:
    world.tenant(installed=False)
    admin = load("admin", world.environment)
    before = admin.get(STATUS, headers=KEY).get_json()
    assert (before["klaviyo"]["connected"], before["findings"][0]["severity"]) == (False, "critical")
    world.install()
    after = admin.get(STATUS, headers=KEY).get_json()
    assert after["klaviyo"]["connected"] is True
    assert "never" not in after["findings"][0]["message"]


class TestWhoIsLetIn:
    @pytest.mark.parametrize(("method", "path"), ROUTES)
    def test_the_key_opens_every_path(self, admin: FlaskClient, method: str, path: str) -> None:
        answer = call(admin, method, path, KEY)
        assert answer.status_code == (202 if path == HEAL else 200)
        assert answer.headers["Cache-Control"] == "no-store"
        assert "canary" not in answer.get_data(as_text=True)

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": ""},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer "},
            {"Authorization": "Bearer canary-wrong"},
            {"Authorization": f"Bearer {WEBHOOK_SECRET}"},
            {"Authorization": f"Bearer {hash_of(INSTALLATION_KEY)}"},
            {"Authorization": f"Bearer {INSTALLATION_KEY}x"},
            {"Authorization": f"Bearer {INSTALLATION_KEY.upper()}"},
            {"Authorization": f"Bearer {INSTALLATION_KEY}, Bearer x"},
            {"Authorization": INSTALLATION_KEY},
            {"Authorization": f"Basic {INSTALLATION_KEY}"},
            {"Authorization": f"Bearerx {INSTALLATION_KEY}"},
            {"Authorization": "Bearer canaryé\xff"},
            {"Authorization": "Bearer " + "0" * 64},
            {"x-omneo-secret": WEBHOOK_SECRET},
            {"x-api-key": INSTALLATION_KEY},
        ],
        ids=range(17),
    )
    def test_every_wrong_credential_is_the_same_401_whether_there_is_such_a_tenant_or_not(
        self, admin: FlaskClient, headers: dict[str, str]
    ) -> None:
        plain = admin.get("/nobody/api/v1/settings")
        everywhere = [(m, path.replace(TENANT, name, 1)) for m, path in ROUTES for name in (TENANT, "nobody")]
        for method, path in everywhere:
            answer = call(admin, method, path, headers)
            assert (answer.status_code, error_of(answer)["code"]) == (401, "unauthorized")
            assert answer.get_data() == plain.get_data()
            assert dict(answer.headers) == dict(plain.headers)

    def test_a_tenants_key_opens_no_other_tenant(self, admin: FlaskClient, world: World) -> None:
        other = InstallationKey(hash=hash_of("canary-other-key"), created_at=world.clock())
        world.tenant("acme-stg", installation_keys=(other,))
        assert admin.get("/acme-stg/api/v1/settings", headers=KEY).status_code == 401
        theirs = {"Authorization": "Bearer canary-other-key"}
        assert admin.get(SETTINGS, headers=theirs).status_code == 401
        assert admin.get("/acme-stg/api/v1/settings", headers=theirs).status_code == 200

    @pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
    def test_the_scheme_is_read_as_http_has_it(self, admin: FlaskClient, scheme: str) -> None:
        headers = {"Authorization": f"{scheme} {INSTALLATION_KEY}"}
        assert admin.get(SETTINGS, headers=headers).status_code == 200

    def test_a_rotated_key_works_at_once_and_the_old_one_until_the_moment_it_is_ended(
        self, admin: FlaskClient, world: World
    ) -> None:
        assert admin.get(SETTINGS, headers=KEY).status_code == 200
        new = InstallationKey(hash=hash_of("canary-new-key"), created_at=world.clock())
        with_new = {"Authorization": "Bearer canary-new-key"}

        def keys(*keys: InstallationKey) -> None:
            world.services.tenants.change(TENANT, lambda t: t.model_copy(update={"installation_keys": keys}))

        keys(new, *world.read().installation_keys)
        assert [admin.get(SETTINGS, headers=h).status_code for h in (with_new, KEY)] == [200, 200]
        keys(new)
        assert [admin.get(SETTINGS, headers=h).status_code for h in (with_new, KEY)] == [200, 401]

    def test_a_refusal_changes_nothing(self, admin: FlaskClient, world: World) -> None:
        before = world.read()
        wrong = {"Authorization": "Bearer canary-wrong", **JSON}
        assert admin.put(SETTINGS, json={"timezone": "UTC"}, headers=wrong).status_code == 401
        assert admin.delete(INSTALL, headers=wrong).status_code == 401
        assert world.read() == before
        assert world.sandbox.klaviyo.calls.all() == []


NO_PATHS = [
    "/",
    "/settings",
    "/acme/api/v1/",
    "/acme/api/v1/settings/",
    "/acme/api/v1/settings/schema/x",
    "/acme/api/v2/settings",
    "/acme/api/v1/Settings",
    "/acme/api/v1/settings%2Fschema/",
    "/acme/x/api/v1/settings",
    "//acme/api/v1/settings",
    "/Acme/api/v1/settings",
    "/acme./api/v1/settings",
    "/-acme/api/v1/settings",
    "/acme-/api/v1/settings",
    "/acme%00/api/v1/settings",
    "/acm%C3%A9/api/v1/settings",
    "/%2e%2e/api/v1/settings",
    f"/{'a' * 41}/api/v1/settings",
    "/acme/api/v1/targets/klaviyo/metric",
    "/acme/api/v1/profiles",
    "/acme/api/v1/profiles//explain",
    "/acme/api/v1/profiles/01JANE/explain/",
    "/acme/api/v1/profiles/a%2Fb/explain",
]


class TestWhatIsRefused:
    def test_what_is_no_path_is_404_before_the_store_is_asked(self, broken: FlaskClient) -> None:
        for method, path in itertools.product(("GET", "PUT", "POST", "DELETE"), NO_PATHS):
            answer = broken.open(path, method=method, headers=KEY)
            assert (path, answer.status_code, error_of(answer)["code"]) == (path, 404, "not_found")

    @pytest.mark.parametrize(
        ("path", "allowed"),
        [
            (SETTINGS, "GET, PUT"),
            (SCHEMA, "GET"),
            (STATUS, "GET"),
            (LINK, "POST"),
            (INSTALL, "DELETE"),
            (HEAL, "POST"),
            (UNKNOWN_PROFILE, "GET"),
        ],
    )
    def test_another_method_is_405_and_all_that_may_be_are_named(
        self, broken: FlaskClient, path: str, allowed: str
    ) -> None:
        for method in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "PROPFIND"):
            if method in allowed.split(", "):
                continue
            answer = broken.open(path, method=method, headers=KEY)
            assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)

    @pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
    def test_a_change_that_is_not_said_to_be_json_is_415(self, admin: FlaskClient, content_type: str) -> None:
        answer = admin.put(SETTINGS, data=b"{}", headers={**KEY, "Content-Type": content_type})
        assert (answer.status_code, error_of(answer)["code"]) == (415, "unsupported_media_type")

    def test_what_is_no_object_of_settings_is_400(self, admin: FlaskClient) -> None:
        deep, nan = b"[" * 100_000, b'{"dead_job_days": NaN}'
        for body in (b"", b"{", b"null", b"[]", b'"canary"', b"1", b"NaN", b"\xff", deep, nan):
            answer = admin.put(SETTINGS, data=body, headers={**KEY, **JSON})
            assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_payload")

    def test_who_is_calling_is_asked_before_what(self, admin: FlaskClient) -> None:
        assert admin.put(SETTINGS, data=b"{", headers=JSON).status_code == 401
        assert admin.put(SETTINGS, data=b"{", headers={"Content-Type": "text/plain"}).status_code == 401

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    def test_a_body_too_large_is_413_at_every_path(self, admin: FlaskClient, method: str, path: str) -> None:
        answer = admin.open(path, method=method, data=b" " * 200_001, headers={**KEY, **JSON})
        assert (answer.status_code, error_of(answer)["code"]) == (413, "payload_too_large")

    def test_two_changes_one_bad_change_nothing_and_the_bad_one_is_named(
        self, admin: FlaskClient, world: World
    ) -> None:
        before = world.read()
        changes = {"timezone": "UTC", "default_region": "canary", "webhook_secret": NEW_SECRET}
        answer = admin.put(SETTINGS, json=changes, headers=KEY)
        assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_payload")
        assert "default_region" in error_of(answer)["message"]
        assert world.read() == before

    def test_what_is_fixed_once_installed_is_409(self, admin: FlaskClient, world: World) -> None:
        before = world.read()
        answer = admin.put(SETTINGS, json={"namespace": "other", "timezone": "UTC"}, headers=KEY)
        assert (answer.status_code, error_of(answer)["code"]) == (409, "conflict")
        assert world.read() == before

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    def test_a_store_that_cannot_answer_is_503_and_never_401(
        self, broken: FlaskClient, method: str, path: str
    ) -> None:
        for headers in (KEY, {}):
            answer = call(broken, method, path, headers)
            assert (answer.status_code, error_of(answer)["code"]) == (503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0

    def test_a_secret_that_no_key_opens_is_503(self, world: World, load: Load) -> None:
        world.tenant()
        admin = load("admin", {**world.environment, "ENCRYPTION_KEYS": "k2:" + "A" * 43 + "="})
        assert admin.get(SETTINGS, headers=KEY).status_code == 503

    def test_a_queue_that_takes_no_job_is_503_and_the_call_may_be_repeated(
        self, world: World, load: Load
    ) -> None:
        world.tenant()

        def moved(tenant: Tenant) -> Tenant:
            settings = tenant.settings.model_copy(update={"namespace": "nowhere"})
            return tenant.model_copy(update={"settings": settings})

        world.services.tenants.change(TENANT, moved)
        admin = load("admin", world.environment)
        for _ in range(2):
            answer = admin.put(SETTINGS, json={"webhook_secret": NEW_SECRET}, headers=KEY)
            assert (answer.status_code, error_of(answer)["code"]) == (503, "unavailable")
        assert [s.value.get_secret_value() for s in world.read().webhook_secrets] == [
            NEW_SECRET,
            WEBHOOK_SECRET,
        ]


class TestSettings:
    def test_they_are_shown_without_any_secret(self, admin: FlaskClient, world: World) -> None:
        shown = admin.get(SETTINGS, headers=KEY).get_json()
        tenant = world.read()
        assert {key: shown[key] for key in ("namespace", "task_queue_name", "dead_job_days")} == {
            "namespace": "klaviyo",
            "task_queue_name": TENANT,
            "dead_job_days": 30,
        }
        assert shown["webhook_secrets"] == [
            {
                "id": tenant.webhook_secrets[0].id,
                "created_at": "2026-11-21T10:00:00+00:00",
                "last_used_at": None,
            }
        ]
        assert [secret["id"] for secret in shown["omneo_signing_secrets"]] == [
            tenant.omneo_signing_secrets[0].id
        ]
        assert shown["omneo_token"] == "set"

    def test_what_is_changed_is_answered_and_read_back(self, admin: FlaskClient) -> None:
        changes = {
            "timezone": "Australia/Sydney",
            "mappings": {"$sealed": "sealed"},
            "sms_transactional": True,
        }
        put = admin.put(SETTINGS, json=changes, headers=KEY)
        assert put.status_code == 200
        assert put.get_json() == admin.get(SETTINGS, headers=KEY).get_json()
        assert {key: put.get_json()[key] for key in changes} == changes
        reset = admin.put(SETTINGS, json=dict.fromkeys(changes), headers=KEY).get_json()
        assert (reset["timezone"], reset["mappings"], reset["sms_transactional"]) == (None, {}, False)

    @pytest.mark.parametrize("is_installed", [True, False])
    def test_what_was_read_may_be_sent_back_as_it_is(
        self, world: World, load: Load, is_installed: bool
    ) -> None:
        world.tenant(installed=is_installed)
        admin = load("admin", world.environment)
        shown = admin.get(SETTINGS, headers=KEY).get_json()
        before = world.read()
        assert admin.put(SETTINGS, json=shown, headers=KEY).get_json() == shown
        assert world.read() == before
        changed = {**shown, "timezone": "Australia/Sydney"}
        assert admin.put(SETTINGS, json=changed, headers=KEY).get_json() == changed

    def test_a_list_that_is_gone_by_now_does_not_stop_what_was_read_from_being_sent_back(
        self, admin: FlaskClient, world: World
    ) -> None:
        settings = world.read().settings.model_copy(update={"master_list_id": "Y6nRLr"})
        world.services.tenants.change(TENANT, lambda t: t.model_copy(update={"settings": settings}))
        shown = admin.get(SETTINGS, headers=KEY).get_json()
        assert admin.put(SETTINGS, json={**shown, "dead_job_days": 9}, headers=KEY).status_code == 200
        assert admin.put(SETTINGS, json={"master_list_id": "Zzzzzz"}, headers=KEY).status_code == 400

    def test_the_schema_is_the_published_one(self, admin: FlaskClient) -> None:
        assert admin.get(SCHEMA, headers=KEY).get_json() == json.loads(json.dumps(settings_schema(16)))

    def test_when_a_secret_was_last_used_is_seen_after_a_call_with_it(
        self, admin: FlaskClient, world: World, load: Load
    ) -> None:
        targets = load("targets", world.environment)
        assert targets.post(METRIC, json=EVENT, headers={"x-omneo-secret": "canary-wrong"}).status_code == 401
        (secret,) = admin.get(SETTINGS, headers=KEY).get_json()["webhook_secrets"]
        assert secret["last_used_at"] is None
        answer = targets.post(METRIC, json=EVENT, headers={"x-omneo-secret": WEBHOOK_SECRET})
        assert answer.status_code == 202
        shown = admin.get(SETTINGS, headers=KEY).get_json()
        assert shown["webhook_secrets"][0]["last_used_at"] is not None
        assert shown["omneo_signing_secrets"][0]["last_used_at"] is None
        in_status = admin.get(STATUS, headers=KEY).get_json()["webhook_secrets"]
        assert in_status == shown["webhook_secrets"]

    def test_a_new_webhook_secret_is_valid_at_once_and_the_old_until_it_is_ended_by_its_id(
        self, admin: FlaskClient, world: World, load: Load
    ) -> None:
        def accepted(targets: FlaskClient) -> list[int]:
            return [
                targets.post(METRIC, json=EVENT, headers={"x-omneo-secret": secret}).status_code
                for secret in (NEW_SECRET, WEBHOOK_SECRET)
            ]

        targets = load("targets", world.environment)
        assert accepted(targets) == [401, 202]
        shown = admin.put(SETTINGS, json={"webhook_secret": NEW_SECRET}, headers=KEY).get_json()
        assert accepted(targets) == [202, 202]
        new, old = (secret["id"] for secret in shown["webhook_secrets"])
        refused = admin.put(SETTINGS, json={"end_webhook_secrets": [new]}, headers=KEY)
        assert (refused.status_code, error_of(refused)["code"]) == (400, "invalid_payload")
        settle(world, 15)  # Klaviyo gets the new one
        ended = admin.put(SETTINGS, json={"end_webhook_secrets": [old]}, headers=KEY).get_json()
        assert [secret["id"] for secret in ended["webhook_secrets"]] == [new]
        assert accepted(load("targets", world.environment)) == [202, 401]

    def test_klaviyos_webhook_is_given_a_new_secret(self, admin: FlaskClient, world: World) -> None:
        assert admin.put(SETTINGS, json={"webhook_secret": NEW_SECRET}, headers=KEY).status_code == 200
        settle(world, 15)
        (hook,) = world.sandbox.klaviyo.webhooks(ACCOUNT)
        assert (hook.name, hook.secret_key) == (webhook_name(TENANT), NEW_SECRET)


class TestTheRest:
    def test_an_install_link_opens_the_install_of_this_tenant(self, admin: FlaskClient, world: World) -> None:
        answer = admin.post(LINK, headers=KEY).get_json()
        url = urlsplit(answer["url"])
        assert f"{url.scheme}://{url.netloc}{url.path}" == f"{EXTENSION_URL}/klaviyo/install"
        links = InstallLinks.of(Services(Settings.from_env(world.environment, EVERYTHING)))
        link = links.read(parse_qs(url.query)["link"][0])
        assert (link.tenant, link.expires_at.isoformat()) == (TENANT, answer["expires_at"])
        again = admin.post(LINK, headers=KEY).get_json()
        assert again["url"] != answer["url"]

    def test_status_is_a_report_of_this_tenant(self, admin: FlaskClient) -> None:
        report = admin.get(STATUS, headers=KEY).get_json()
        assert report["tenant"] == TENANT
        assert report["klaviyo"]["connected"] is True
        assert {finding["severity"] for finding in report["findings"]} >= {"ok"}
        assert report == admin.get(STATUS, headers=KEY).get_json()

    def test_an_uninstall_may_be_repeated_and_the_next_status_knows(
        self, admin: FlaskClient, world: World, load: Load
    ) -> None:
        assert admin.get(STATUS, headers=KEY).get_json()["klaviyo"]["connected"] is True
        world.clock.advance(1)  # Klaviyo shows its webhooks once a second
        first = admin.delete(INSTALL, headers=KEY)
        assert (first.status_code, first.get_json()["status"]) == (200, "uninstalled")
        second = admin.delete(INSTALL, headers=KEY)
        assert (second.status_code, second.get_json()) == (200, first.get_json())
        report = admin.get(STATUS, headers=KEY).get_json()
        assert report["klaviyo"]["connected"] is False
        assert report["left_behind"] == first.get_json()["left_behind"]
        answer = load("targets", world.environment).post(
            METRIC, json=EVENT, headers={"x-omneo-secret": WEBHOOK_SECRET}
        )
        assert (answer.status_code, error_of(answer)["code"]) == (409, "not_installed")

    def test_an_uninstall_while_klaviyo_is_down_is_503_and_changes_nothing(
        self, admin: FlaskClient, world: World
    ) -> None:
        world.sandbox.klaviyo.fail(10, status=503)
        answer = admin.delete(INSTALL, headers=KEY)
        assert (answer.status_code, error_of(answer)["code"]) == (503, "unavailable")
        assert "Retry-After" in answer.headers
        assert world.read().is_connected


class TestExplain:
    @pytest.fixture
    def path(self, admin: FlaskClient, world: World) -> str:
        """Return the path of a profile that Omneo has."""
        fields = {"email": EVENT["profile"]["email"], "last_name": "canary-Doe"}
        profile = world.sandbox.omneo.profile(TENANT, **fields)
        return f"{BASE}/profiles/{profile['id']}/explain"

    def test_a_profile_is_explained_masked(self, admin: FlaskClient, path: str) -> None:
        answer = admin.get(path, headers=KEY)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
        assert answer.get_json()["would_send"]["attributes"]["last_name"] == "<text>"
        assert answer.get_json()["matched"]["by"] == "none"
        assert "canary" not in answer.get_data(as_text=True)

    @pytest.mark.parametrize(("query", "reveals"), [("?reveal=true", True), ("?reveal=false", False)])
    def test_values_are_shown_on_demand_and_the_log_says_that_they_were(
        self,
        admin: FlaskClient,
        path: str,
        capsys: pytest.CaptureFixture[str],
        query: str,
        reveals: bool,
    ) -> None:
        answer = admin.get(f"{path}{query}", headers=KEY)
        assert answer.status_code == 200
        assert ("canary-Doe" in answer.get_data(as_text=True)) is reveals
        written = lines(capsys.readouterr().out)
        shown = [line for line in written if line["message"].startswith("personal values were shown")]
        assert [(line["severity"], line["tenant"], line["kind"]) for line in shown] == (
            [("WARNING", TENANT, "explain")] if reveals else []
        )
        assert "canary" not in json.dumps(written)

    @pytest.mark.parametrize("query", ["?reveal=", "?reveal=1", "?reveal=canary", "?reveal=True"])
    def test_what_is_neither_true_nor_false_is_400(self, admin: FlaskClient, path: str, query: str) -> None:
        answer = admin.get(f"{path}{query}", headers=KEY)
        assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_payload")

    @pytest.mark.parametrize("id", ["01NOBODY", "..", "%2e%2e", "a" * 65, "%C3%BC", "canary@example.org"])
    def test_a_profile_that_is_not_there_is_404(self, admin: FlaskClient, path: str, id: str) -> None:
        answer = admin.get(f"{BASE}/profiles/{id}/explain", headers=KEY)
        assert (answer.status_code, error_of(answer)["code"]) == (404, "profile_not_found")

    @pytest.mark.parametrize(
        ("service", "match"), [("omneo", None), ("klaviyo", "GET /api/profiles")], ids=["omneo", "klaviyo"]
    )
    @pytest.mark.parametrize("status", [503, 401, 403])
    def test_a_service_that_cannot_answer_is_503(
        self, admin: FlaskClient, world: World, path: str, service: str, match: str | None, status: int
    ) -> None:
        getattr(world.sandbox, service).fail(9, match=match, status=status)
        answer = admin.get(path, headers=KEY)
        assert (answer.status_code, error_of(answer)["code"]) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0

    def test_a_tenant_without_an_account_or_with_a_lost_one_is_409(
        self, admin: FlaskClient, world: World, path: str
    ) -> None:
        world.disconnect()
        answer = admin.get(path, headers=KEY)
        assert (answer.status_code, error_of(answer)["code"]) == (409, "conflict")
        world.services.tenants.change(TENANT, lambda known: known.model_copy(update={"klaviyo": None}))
        answer = admin.get(path, headers=KEY)
        assert (answer.status_code, error_of(answer)["code"]) == (409, "not_installed")

    def test_without_the_key_nobody_learns_whether_there_is_such_a_profile(
        self, admin: FlaskClient, world: World, path: str
    ) -> None:
        for headers in ({}, {"Authorization": f"Bearer {WEBHOOK_SECRET}"}):
            answers = [admin.get(place, headers=headers) for place in (path, UNKNOWN_PROFILE)]
            assert [answer.status_code for answer in answers] == [401, 401]
            assert answers[0].get_data() == answers[1].get_data()
        assert world.sandbox.omneo.calls.all() == []

    def test_a_store_that_cannot_answer_is_503(self, broken: FlaskClient) -> None:
        answer = broken.get(UNKNOWN_PROFILE, headers=KEY)
        assert (answer.status_code, error_of(answer)["code"]) == (503, "unavailable")


class TestHeal:
    def test_a_run_is_queued_and_its_id_is_answered(self, admin: FlaskClient, world: World) -> None:
        answer = admin.post(HEAL, headers=KEY)
        (task,) = world.queued(Direction.INBOUND)
        job = read_job(task)
        assert isinstance(job, Heal)
        assert (answer.status_code, answer.get_json()) == (202, {"status": "queued", "id": job.id})
        assert (job.tenant, job.began_at) == (TENANT, None)

    def test_while_it_runs_a_second_order_is_409(self, admin: FlaskClient, world: World) -> None:
        first, *others = [admin.post(HEAL, headers=KEY) for _ in range(5)]
        assert first.status_code == 202
        for answer in others:
            assert answer.status_code == 409
            assert "A heal is under way" in answer.get_json()["error"]["message"]
        assert len(world.queued(Direction.INBOUND)) == 1
        settle(world)
        assert admin.post(HEAL, headers=KEY).status_code == 202

    def test_it_runs_to_its_end(self, admin: FlaskClient, world: World) -> None:
        long_ago = world.clock() - timedelta(days=10)
        world.services.tenants.change(TENANT, lambda t: t.model_copy(update={"heal_from": long_ago}))
        assert admin.post(HEAL, headers=KEY).status_code == 202
        began_at = world.clock() + timedelta(seconds=1)
        settle(world)
        assert world.queued(Direction.INBOUND) == []
        assert world.read().heal_from == began_at - timedelta(hours=72)

    def test_a_disconnected_tenants_run_waits_for_the_next_install(
        self, admin: FlaskClient, world: World
    ) -> None:
        world.disconnect()
        assert admin.post(HEAL, headers=KEY).status_code == 202

    def test_a_tenant_without_an_account_is_409_and_nothing_is_queued(self, world: World, load: Load) -> None:
        world.tenant(installed=False)
        answer = load("admin", world.environment).post(HEAL, headers=KEY)
        assert (answer.status_code, error_of(answer)["code"]) == (409, "not_installed")

    def test_without_the_key_nothing_is_queued(self, admin: FlaskClient, world: World) -> None:
        for headers in ({}, {"Authorization": f"Bearer {WEBHOOK_SECRET}"}):
            assert admin.post(HEAL, headers=headers).status_code == 401
        assert world.queued(Direction.INBOUND) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
names = st.sampled_from(
    [*settings_schema(16)["properties"], "$sealed", "sealed", "__x__", "", "klaviyo", "omneo_token"]
)
changes = st.dictionaries(names, json_values, max_size=4)
bodies = st.one_of(
    st.binary(max_size=200), (changes | json_values).map(lambda value: json.dumps(value).encode())
)
segment = st.text(st.sampled_from(string.ascii_letters + string.digits + "-_.~%/ ü\x00"), max_size=30)
paths = st.one_of(
    st.sampled_from([path for _, path in ROUTES]),
    segment.map(lambda text: f"/{text}"),
    segment.map(lambda text: f"/{text}/api/v1/settings"),
    segment.map(lambda text: f"{BASE}/{text}"),
    segment.map(lambda text: f"{BASE}/profiles/{text}/explain?reveal={text}"),
)
header_text = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40
)
headers = st.dictionaries(
    st.sampled_from(["Content-Type", "Authorization", "traceparent", "Content-Encoding", "Accept", "Origin"]),
    header_text,
    max_size=3,
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "PUT", "PUT", "PUT", "POST", "DELETE", "PATCH", "HEAD"]),
    path=paths,
    body=bodies,
    extra=headers,
    known=st.booleans(),
)
def test_no_flood_of_malformed_calls_makes_the_function_fail(
    admin: FlaskClient, method: str, path: str, body: bytes, extra: dict[str, str], known: bool
) -> None:
    base = {**KEY, **JSON} if known else {}
    answer = admin.open(path, method=method, data=body, headers={**base, **extra})
    assert answer.status_code < 500


RUNS = [f"{BASE}/{kind}" for kind in ("resync", "reconcile", "repair")]


class TestRuns:
    @pytest.mark.parametrize("path", RUNS)
    def test_a_run_is_begun_followed_paused_resumed_and_cancelled(
        self, admin: FlaskClient, world: World, path: str
    ) -> None:
        begun = admin.post(path, headers=KEY)
        assert (begun.status_code, begun.get_json()["status"]) == (202, "queued")
        one = f"{BASE}/resync/{begun.get_json()['id']}"
        shown = admin.get(one, headers=KEY)
        assert (shown.status_code, shown.get_json()["kind"]) == (200, path.rpartition("/")[2])
        assert shown.headers["Cache-Control"] == "no-store"
        for order, state in (
            ("pause", "paused"),
            ("pause", "paused"),
            ("resume", "running"),
            ("resume", "running"),
            ("cancel", "cancelled"),
            ("cancel", "cancelled"),
        ):
            answer = admin.post(f"{one}/{order}", headers=KEY)
            assert (answer.status_code, answer.get_json()["state"]) == (200, state)
        for order in ("pause", "resume"):
            answer = admin.post(f"{one}/{order}", headers=KEY)
            assert (answer.status_code, error_of(answer)["code"]) == (409, "conflict")

    def test_what_was_ordered_is_told(self, admin: FlaskClient) -> None:
        order = {
            "since": "2026-01-02T03:04:05+11:00",
            "only_consent": True,
            "dry_run": True,
            "undated_opt_ins": "joined_date",
        }
        begun = admin.post(RUNS[0], json=order, headers=KEY)
        shown = admin.get(f"{BASE}/resync/{begun.get_json()['id']}", headers=KEY).get_json()
        assert {name: shown[name] for name in order} == {**order, "since": "2026-01-01T16:04:05+00:00"}

    def test_status_names_the_run_that_is_under_way(self, admin: FlaskClient) -> None:
        assert admin.get(STATUS, headers=KEY).get_json()["run"] is None
        id = admin.post(RUNS[0], headers=KEY).get_json()["id"]
        shown = admin.get(STATUS, headers=KEY).get_json()["run"]
        assert (shown["id"], shown["kind"], shown["state"], shown["read"]) == (id, "resync", "running", 0)
        admin.post(f"{BASE}/resync/{id}/cancel", headers=KEY)
        assert admin.get(STATUS, headers=KEY).get_json()["run"] is None

    @pytest.mark.parametrize("path", RUNS)
    def test_a_second_run_is_409_until_the_first_is_over(self, admin: FlaskClient, path: str) -> None:
        id = admin.post(RUNS[0], headers=KEY).get_json()["id"]
        answer = admin.post(path, headers=KEY)
        assert (answer.status_code, error_of(answer)["code"]) == (409, "conflict")
        assert id in error_of(answer)["message"]
        admin.post(f"{BASE}/resync/{id}/cancel", headers=KEY)
        assert admin.post(path, headers=KEY).status_code == 202

    @pytest.mark.parametrize(
        ("body", "named"),
        [
            (b'{"since": "yesterday"}', "since"),
            (b'{"since": "2026-01-02T03:04:05"}', "since"),
            (b'{"since": "2999-01-02T03:04:05Z"}', "since"),
            (b'{"dry_run": "no"}', "dry_run"),
            (b'{"dry_run": 1}', "dry_run"),
            (b'{"only_consent": null}', "only_consent"),
            (b'{"undated_opt_ins": "canary"}', "undated_opt_ins"),
            (b'{"canary": 1}', "since, only_consent"),
            (b"[]", "JSON object"),
            (b"0", "JSON object"),
            (b'""', "JSON object"),
            (b"false", "JSON object"),
            (b"{", ""),
        ],
    )
    def test_an_order_that_cannot_be_read_begins_nothing_and_names_the_field(
        self, admin: FlaskClient, world: World, body: bytes, named: str
    ) -> None:
        for path in RUNS:
            answer = admin.post(path, data=body, headers={**KEY, **JSON})
            assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_payload")
            assert named in error_of(answer)["message"]
        assert Resyncs.of(world.services).under_way(TENANT) is None

    def test_a_body_that_is_not_said_to_be_json_is_415(self, admin: FlaskClient, world: World) -> None:
        answer = admin.post(RUNS[0], data=b'{"dry_run": true}', headers={**KEY, "Content-Type": "text/plain"})
        assert answer.status_code == 415
        assert Resyncs.of(world.services).under_way(TENANT) is None

    def test_a_run_that_is_not_there_is_404(self, admin: FlaskClient) -> None:
        for id in ("nobody", "a b", "__x__", "%2e%2e"):
            for method, path in (("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/cancel")):
                answer = admin.open(f"{BASE}/resync/{id}{path}", method=method, headers=KEY)
                assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found")

    def test_another_tenants_run_is_404(self, admin: FlaskClient, world: World) -> None:
        other = InstallationKey(hash=hash_of("canary-other-key"), created_at=world.clock())
        world.tenant("acme-stg", installation_keys=(other,))
        theirs = {"Authorization": "Bearer canary-other-key"}
        id = admin.post("/acme-stg/api/v1/resync", headers=theirs).get_json()["id"]
        assert admin.get(f"{BASE}/resync/{id}", headers=KEY).status_code == 404
        assert admin.get(f"/acme-stg/api/v1/resync/{id}", headers=theirs).status_code == 200

    def test_who_is_calling_is_asked_first(self, admin: FlaskClient, broken: FlaskClient) -> None:
        id = admin.post(RUNS[0], headers=KEY).get_json()["id"]
        paths = [("POST", path) for path in RUNS]
        paths += [("GET", f"{BASE}/resync/{id}")]
        paths += [("POST", f"{BASE}/resync/{id}/{order}") for order in ("pause", "resume", "cancel")]
        for method, path in paths:
            assert admin.open(path, method=method).status_code == 401
            assert broken.open(path, method=method, headers=KEY).status_code == 503
        assert admin.get(f"{BASE}/resync/{id}", headers=KEY).get_json()["state"] == "running"

    @pytest.mark.parametrize(
        ("path", "allowed"),
        [(RUNS[0], "POST"), (f"{BASE}/resync/x", "GET"), (f"{BASE}/resync/x/pause", "POST")],
    )
    def test_another_method_is_405(self, broken: FlaskClient, path: str, allowed: str) -> None:
        answer = broken.put(path, headers=KEY)
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)

    def test_before_an_install_there_is_nobody_to_send_to(self, world: World, load: Load) -> None:
        world.tenant(installed=False)
        admin = load("admin", world.environment)
        for path in RUNS:
            answer = admin.post(path, headers=KEY)
            assert (answer.status_code, error_of(answer)["code"]) == (409, "not_installed")

    def test_a_queue_that_takes_no_job_is_503_and_the_run_can_be_resumed(
        self, world: World, load: Load
    ) -> None:
        world.tenant()

        def space(namespace: str) -> None:
            def moved(tenant: Tenant) -> Tenant:
                settings = tenant.settings.model_copy(update={"namespace": namespace})
                return tenant.model_copy(update={"settings": settings})

            world.services.tenants.change(TENANT, moved)

        space("nowhere")
        assert load("admin", world.environment).post(RUNS[0], headers=KEY).status_code == 503
        run = Resyncs.of(world.services).under_way(TENANT)
        assert run is not None
        space("klaviyo")
        admin = load("admin", world.environment)
        assert admin.post(f"{BASE}/resync/{run.id}/resume", headers=KEY).status_code == 200
        assert len(world.queued(Direction.OUTBOUND)) == 1

    def test_an_uninstall_ends_the_run_whose_job_it_takes_away(
        self, admin: FlaskClient, world: World
    ) -> None:
        id = admin.post(RUNS[0], headers=KEY).get_json()["id"]
        assert admin.delete(INSTALL, headers=KEY).status_code == 200
        assert admin.get(f"{BASE}/resync/{id}", headers=KEY).get_json()["state"] == "cancelled"
        world.install()
        assert admin.post(RUNS[0], headers=KEY).status_code == 202


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/resync?dry_run=true"),
        ("POST", "/heal?dryRun=true"),
        ("DELETE", "/install?dry_run=true"),
        ("DELETE", "/profiles/0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01?klavyo=true"),
    ],
)
def test_a_parameter_that_nobody_knows_is_refused_before_anything_is_done(
    admin: FlaskClient, world: World, method: str, path: str
) -> None:
    answer = admin.open(f"/acme/api/v1{path}", method=method, headers=KEY)
    assert answer.status_code == 400
    assert "Known:" in answer.get_json()["error"]["message"]
    assert world.read().klaviyo is not None
