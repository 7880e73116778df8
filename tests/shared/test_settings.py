"""The environment: whatever is wrong in it is said by name, all at once, and no value ever is."""

from base64 import urlsafe_b64encode
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigurationError
from shared.settings import DEFAULT_TASKS_EMULATOR, TASKS, Needs, Settings

EVERYTHING = Needs.STORE | Needs.QUEUES | TASKS | Needs.KLAVIYO_APP
NOTHING = Needs(0)
KEYS = f"k1:{urlsafe_b64encode(b'canary-a-key-of-thirty-two-bytes').decode()}"  # the same at every run, as all that examples are made of
CLOUD = {
    "KLAVIYO_CLIENT_ID": "client",
    "KLAVIYO_CLIENT_SECRET": "canary-client-secret",
    "ENCRYPTION_KEYS": KEYS,
    "GOOGLE_CLOUD_PROJECT": "proj",
    "GOOGLE_CLOUD_REGION": "australia-southeast1",
    "TASKS_SERVICE_ACCOUNT": "tasks@proj.iam.gserviceaccount.com",
    "INBOUND_WORKER_URL": "https://inbound-worker-abc.a.run.app",
    "OUTBOUND_WORKER_URL": "https://outbound-worker-abc.a.run.app",
}
LOCAL = {
    "KLAVIYO_CLIENT_ID": "client",
    "KLAVIYO_CLIENT_SECRET": "canary-client-secret",
    "ENCRYPTION_KEYS": KEYS,
    "STORE": "sqlite:data/documents.db",
    "QUEUE": "local",
    "INBOUND_WORKER_URL": "http://127.0.0.1:8180",
    "OUTBOUND_WORKER_URL": "http://127.0.0.1:8181",
}
VARIABLES = sorted(
    {
        *CLOUD,
        *LOCAL,
        "EXTENSION_URL",
        "KLAVIYO_API_URL",
        "KLAVIYO_AUTHORIZE_URL",
        "KLAVIYO_REVISION",
        "OMNEO_API_URL",
        "OMNEO_MANAGER_URL",
        "CLOUD_TASKS_EMULATOR_HOST",
        "APP_PUBLISHER",
        "HELP_URL",
        "PRIVACY_URL",
        "ADDRESS_LIMITS",
    }
)
NOT_A_URL = "must be a URL that starts with https:// (or http:// on one machine)"


def complaints(env: dict[str, str], needs: Needs = EVERYTHING) -> dict[str, str]:
    """Return what the error says of each variable."""
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_env(env, needs)
    assert refused.value.__context__ is None
    heading, *lines = str(refused.value).splitlines()
    assert heading == "The environment needs attention:"
    assert all(line.startswith("  ") for line in lines)
    named = dict(line.strip().split(" ", 1) for line in lines)
    assert len(named) == len(lines)
    return named


def read(needs: Needs = EVERYTHING, **changes: str) -> Settings:
    return Settings.from_env({**CLOUD, **changes}, needs)


def sum_of(parts: list[Needs]) -> Needs:
    total = NOTHING
    for part in parts:
        total |= part
    return total


class TestDefaults:
    def test_without_any_variable_it_talks_to_the_real_services(self) -> None:
        settings = Settings.from_env({}, NOTHING)
        assert settings.klaviyo_api_url == "https://a.klaviyo.com"
        assert settings.klaviyo_revision == "2026-10-15"
        assert settings.omneo_api_url == "https://api.{tenant}.getomneo.com"

    def test_store_and_queue_are_googles(self) -> None:
        settings = read()
        assert settings.store is not None
        assert settings.queue is not None
        assert (settings.store.sqlite_path, settings.store.project) == ("", "proj")
        assert (settings.queue.emulator, settings.queue.project) == ("", "proj")
        assert settings.queue.region == "australia-southeast1"
        assert settings.queue.service_account == "tasks@proj.iam.gserviceaccount.com"
        assert settings.queue.outbound_worker_url == "https://outbound-worker-abc.a.run.app"

    def test_on_one_machine_nothing_of_google_is_needed(self) -> None:
        settings = Settings.from_env(LOCAL, EVERYTHING)
        assert settings.store is not None
        assert settings.queue is not None
        assert settings.store.sqlite_path == "data/documents.db"
        assert settings.queue.emulator == DEFAULT_TASKS_EMULATOR
        assert settings.project == ""

    def test_an_empty_or_blank_variable_is_one_that_is_not_set(self) -> None:
        assert read(KLAVIYO_API_URL="", KLAVIYO_REVISION=" \n", OMNEO_API_URL="\t") == read()
        assert complaints({**CLOUD, "ENCRYPTION_KEYS": "  "}) == {"ENCRYPTION_KEYS": "is not set"}

    def test_blanks_around_a_value_are_not_part_of_it(self) -> None:
        assert read(KLAVIYO_CLIENT_ID=" client\n", GOOGLE_CLOUD_PROJECT="proj ") == read()


class TestNeeds:
    def test_all_that_is_missing_is_said_at_once(self) -> None:
        assert complaints({}) == dict.fromkeys(CLOUD, "is not set")

    @pytest.mark.parametrize(
        ("needs", "missing"),
        [
            (NOTHING, set()),
            (Needs.STORE, {"ENCRYPTION_KEYS", "GOOGLE_CLOUD_PROJECT"}),
            (Needs.QUEUES, {"GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_REGION"}),
            (
                Needs.OUTBOUND,
                {
                    "GOOGLE_CLOUD_PROJECT",
                    "GOOGLE_CLOUD_REGION",
                    "TASKS_SERVICE_ACCOUNT",
                    "OUTBOUND_WORKER_URL",
                },
            ),
            (
                Needs.INBOUND,
                {
                    "GOOGLE_CLOUD_PROJECT",
                    "GOOGLE_CLOUD_REGION",
                    "TASKS_SERVICE_ACCOUNT",
                    "INBOUND_WORKER_URL",
                },
            ),
            (Needs.KLAVIYO_APP, {"KLAVIYO_CLIENT_ID", "KLAVIYO_CLIENT_SECRET"}),
        ],
    )
    def test_a_process_is_asked_only_for_what_it_uses(self, needs: Needs, missing: set[str]) -> None:
        for left_out in missing:
            given = {name: CLOUD[name] for name in missing - {left_out}}
            assert set(complaints(given, needs)) == {left_out}
        Settings.from_env({name: CLOUD[name] for name in missing}, needs)

    @pytest.mark.parametrize(
        ("needs", "missing"),
        [
            (Needs.STORE, {"ENCRYPTION_KEYS"}),
            (Needs.QUEUES, set()),
            (Needs.OUTBOUND, {"OUTBOUND_WORKER_URL"}),
            (Needs.INBOUND, {"INBOUND_WORKER_URL"}),
        ],
    )
    def test_on_one_machine_it_is_asked_for_less(self, needs: Needs, missing: set[str]) -> None:
        env = {"STORE": "sqlite:documents.db", "QUEUE": "local"}
        for left_out in missing:
            given = {name: CLOUD[name] for name in missing - {left_out}}
            assert set(complaints({**env, **given}, needs)) == {left_out}
        Settings.from_env({**env, **{name: CLOUD[name] for name in missing}}, needs)

    def test_what_is_not_used_is_not_held_even_when_it_is_there(self) -> None:
        settings = read(NOTHING)
        assert (settings.klaviyo_client_id, settings.klaviyo_client_secret) == (None, None)
        assert (settings.store, settings.queue) == (None, None)

    def test_what_is_not_used_may_be_malformed(self) -> None:
        env = {"ENCRYPTION_KEYS": "x", "STORE": "x", "QUEUE": "x", "OUTBOUND_WORKER_URL": "x"}
        assert Settings.from_env(env, NOTHING).store is None


class TestMalformed:
    def test_every_malformed_and_missing_variable_is_named_and_no_value_repeated(self) -> None:
        named = complaints(
            {
                "KLAVIYO_API_URL": "canary://x",
                "KLAVIYO_REVISION": "canary",
                "OMNEO_API_URL": "https://canary.example",
                "ENCRYPTION_KEYS": "canary",
                "STORE": "canary",
                "QUEUE": "canary",
                "INBOUND_WORKER_URL": "canary",
                "OUTBOUND_WORKER_URL": "http://[canary]/",
                "KLAVIYO_CLIENT_SECRET": "canary",
            }
        )
        assert named == {
            "KLAVIYO_API_URL": NOT_A_URL,
            "KLAVIYO_CLIENT_ID": "is not set",
            "KLAVIYO_REVISION": "must be a Klaviyo revision, as in 2026-10-15",
            "OMNEO_API_URL": "must hold {tenant} once, as in https://api.{tenant}.getomneo.com",
            "ENCRYPTION_KEYS": "pair 1 is not of the form id:key (id: letters, digits, - and _)",
            "STORE": "must be firestore or sqlite:PATH",
            "QUEUE": "must be cloud-tasks or local",
            "INBOUND_WORKER_URL": NOT_A_URL,
            "OUTBOUND_WORKER_URL": NOT_A_URL,
            "GOOGLE_CLOUD_PROJECT": "is not set",
            "GOOGLE_CLOUD_REGION": "is not set",
            "TASKS_SERVICE_ACCOUNT": "is not set",
        }

    @pytest.mark.parametrize(
        ("url", "complaint"),
        [
            ("canary", NOT_A_URL),
            ("canary.example", NOT_A_URL),
            ("//canary.example", NOT_A_URL),
            ("ftp://canary.example", NOT_A_URL),
            ("https:///canary", NOT_A_URL),
            ("https://", NOT_A_URL),
            ("https:canary", NOT_A_URL),
            ("https://[canary", NOT_A_URL),
            ("https://[canary]/", NOT_A_URL),
            ("https://a\u2100canary.example", NOT_A_URL),
            ("https://cänary.example", NOT_A_URL),
            ("https://can\nary.example", NOT_A_URL),
            ("https://can ary.example", NOT_A_URL),
            ("https://x:canary", NOT_A_URL),
            ("https://x:99999", NOT_A_URL),
            ("https://x:0", NOT_A_URL),
            ("https://x\x00", NOT_A_URL),
            ("https://x?canary=1", "must be a URL without a query or fragment"),
            ("https://x/?", "must be a URL without a query or fragment"),
            ("https://x#canary", "must be a URL without a query or fragment"),
            ("https://canary:canary@x", "must be a URL without a user name or password"),
        ],
    )
    def test_what_is_no_usable_address_is_refused(self, url: str, complaint: str) -> None:
        for name in ("KLAVIYO_API_URL", "OUTBOUND_WORKER_URL"):
            assert complaints({**CLOUD, name: url}) == {name: complaint}

    @pytest.mark.parametrize(
        "url", ["https://x", "http://127.0.0.1:8080", "http://[::1]:80", "https://X.example:65535/base"]
    )
    def test_an_address_is_taken_as_it_is_but_for_slashes_at_its_end(self, url: str) -> None:
        assert read(KLAVIYO_API_URL=url).klaviyo_api_url == url
        assert read(KLAVIYO_API_URL=f"{url}//").klaviyo_api_url == url

    @pytest.mark.parametrize(
        "template",
        [
            "https://api.getomneo.com",
            "https://api.{tenant}.{tenant}.com",
            "https://api.{}.com",
            "https://api.{Tenant}.com",
            "https://api.{tenant.com",
            "https://api.{{tenant}}.com",
            "https://api.{tenant}.{region}.com",
            "https://api.{tenant}.com}",
            "https://api.{tenant!r}.com",
            "https://api.{tenant.__class__}.com",
            "https://x:{tenant}",
            "https://{tenant}@x",
            "https://x/?tenant={tenant}",
            "https://x#{tenant}",
            "{tenant}",
            "{tenant}://x",
        ],
    )
    def test_an_odd_template_is_refused(self, template: str) -> None:
        assert set(complaints({**CLOUD, "OMNEO_API_URL": template})) == {"OMNEO_API_URL"}

    @pytest.mark.parametrize(
        "template", ["https://{tenant}.omneo.example", "http://127.0.0.1:9/{tenant}", "https://x/{tenant}/y"]
    )
    def test_the_tenant_may_stand_in_host_or_path(self, template: str) -> None:
        assert read(OMNEO_API_URL=template + "/").omneo_api_url == template

    @pytest.mark.parametrize(
        "revision",
        ["canary", "20261015", "2026-W42-4", "2026-13-01", "2026-10-15.", "2026-10-15.beta", "2026-1-5"],
    )
    def test_what_is_no_revision_is_refused(self, revision: str) -> None:
        assert set(complaints({**CLOUD, "KLAVIYO_REVISION": revision})) == {"KLAVIYO_REVISION"}

    def test_a_revision_may_be_a_beta(self) -> None:
        assert read(KLAVIYO_REVISION="2026-10-15.pre").klaviyo_revision == "2026-10-15.pre"

    @pytest.mark.parametrize(
        "store", ["sqlite", "sqlite:", "sqlite: ", "SQLITE:x", "mysql:x", "firestore:x", ":x"]
    )
    def test_a_store_of_another_kind_is_refused(self, store: str) -> None:
        assert complaints({**CLOUD, "STORE": store}) == {"STORE": "must be firestore or sqlite:PATH"}

    def test_a_path_may_hold_colons_and_blanks(self) -> None:
        store = read(STORE="sqlite:C:/our data/x.db").store
        assert store is not None
        assert store.sqlite_path == "C:/our data/x.db"

    @pytest.mark.parametrize(
        "host",
        [
            "canary:8123", "127.0.0.1", "127.0.0.1:", ":8123", "0.0.0.0:8123", "127.0.0.1:0", "127.0.0.1:65536",
            "127.0.0.1:123456", "127.0.0.1:\u0661", "127a0b0c1:80", "http://127.0.0.1:80", "127.0.0.1:80/", "::1:80",
        ],
    )  # fmt: skip
    def test_a_queue_emulator_elsewhere_is_refused(self, host: str) -> None:
        named = complaints({**LOCAL, "CLOUD_TASKS_EMULATOR_HOST": host})
        assert named == {
            "CLOUD_TASKS_EMULATOR_HOST": "must be a loopback host and port, as in 127.0.0.1:8123"
        }

    @pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost:65535", "[::1]:8123"])
    def test_a_queue_emulator_on_this_machine_is_taken(self, host: str) -> None:
        queue = Settings.from_env({**LOCAL, "CLOUD_TASKS_EMULATOR_HOST": host}, EVERYTHING).queue
        assert queue is not None
        assert queue.emulator == host

    def test_the_emulators_address_means_nothing_to_googles_queue(self) -> None:
        queue = read(CLOUD_TASKS_EMULATOR_HOST="127.0.0.1:8123").queue
        assert queue is not None
        assert queue.emulator == ""


class TestSecrecy:
    def test_printing_settings_shows_no_secret(self) -> None:
        shown = repr(read())
        assert "canary" not in shown
        assert KEYS.partition(":")[2] not in shown

    @given(st.sampled_from(VARIABLES), st.text())
    def test_no_complaint_repeats_a_value(self, name: str, text: str) -> None:
        try:
            Settings.from_env({**CLOUD, name: f"canary{text}canary"}, EVERYTHING)
        except ConfigurationError as error:
            assert "canary" not in str(error)  # noqa: PT017 - settings are as good an outcome


class TestAnyEnvironment:
    odd = st.one_of(
        st.text(),
        st.sampled_from(
            [
                *CLOUD.values(),
                *LOCAL.values(),
                "https://[",
                "https://{tenant}",
                "https://[{tenant}]",
                "https://[::1%canary]",
                "http://[v1.x]",
                "sqlite:\x00",
                "k:",
                "\udcff",
                "2026-10-15.pre.pre",
                "127.0.0.1:\u0661",
            ]
        ),
        st.from_regex(r"https?://[^/]{0,20}(/.*)?", fullmatch=True),
        st.from_regex(r"[a-z0-9]{1,3}:[A-Za-z0-9+/=]{0,50}(,.*)?", fullmatch=True),
    )
    needs = st.lists(st.sampled_from(Needs)).map(sum_of)

    @given(st.dictionaries(st.sampled_from(VARIABLES) | st.text(max_size=3), odd), needs)
    def test_it_gives_settings_or_one_readable_error(self, env: dict[str, str], needs: Needs) -> None:
        try:
            settings = Settings.from_env(env, needs)
        except ConfigurationError as error:
            lines = str(error).splitlines()
            assert lines[1:] == sorted(lines[1:])
            assert {line.split()[0] for line in lines[1:]} <= set(VARIABLES)
        else:
            assert placeholders(settings) == []


def placeholders(part: Any) -> list[str]:
    """Return the fields in which something stands that only stands in for a missing value."""
    found = []
    for field in fields(part):
        value = getattr(part, field.name)
        if type(value).__name__ == "_Placeholder":
            found.append(field.name)
        elif hasattr(value, "__dataclass_fields__"):
            found += placeholders(value)
    return found
