"""Every setting with good and bad values; the published schema is held against what is really taken."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, ClassVar

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from shared.admin.edits import MOST_SECRETS, edited
from shared.errors import ConflictError, InvalidPayloadError
from shared.tenants.settings import LONGEST_LOGIC, LONGEST_SECRET, TenantSettings, settings_schema
from shared.tenants.tenants import WEBHOOK_SECRET_LENGTH, KlaviyoConnection, StoredSecret, Tenant
from tests.support.world import Clock, a_tenant

NOW = Clock().now
SCHEMA = settings_schema(WEBHOOK_SECRET_LENGTH)
REFEREE = jsonschema_rs.validator_for(SCHEMA)
LOGIC = {"and": [{"==": [{"var": "tier.handle"}, "gold"]}, {"in": ["a", ["a", ["b"]]]}]}


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"var": "x"}
    for _ in range(levels - 1):
        value = {"!": value}
    return value


GOOD: dict[str, list[Any]] = {
    "namespace": ["klaviyo", "k", "Klaviyo-2", "0", "n" * 40],
    "task_queue_name": ["acme", "a", "Shop-AU-2", "q" * 40],
    "identity_handle": ["klaviyo", "k", "klaviyo_au", "Klaviyo ID ü", "x" * 100],
    "default_region": ["AU", "NZ", "GB"],
    "timezone": [
        "Australia/Melbourne",
        "UTC",
        "Etc/UTC",
        "US/Eastern",
        "Japan",
        "America/Argentina/Buenos_Aires",
    ],
    "master_list_id": ["Y6nRLr", "a", "x" * 64, "a_b-C"],
    "profile_exclude_logic": [
        {},
        LOGIC,
        {"==": [1, 1.5]},
        {"==": [None, True]},
        {"in": [2**63 - 1, -(2**63)]},
        nested(17),
        {"!": {"not_in": ["x" * 200, {"var": "flattened_tags"}]}},
    ],
    "mappings": [
        {},
        {"attributes.custom.size": "$organization"},
        {"$sealed": "sealed", "sealed": "$sold", "$$list": "$list"},
        {"a" * 200: "b" * 200},
        {str(number): f"x{number}" for number in range(200)},
        {"company": "$organization", "nickname": "first_name", "town": "location.city", "id": "omneo_id"},
        {"__": "x", "_x_": "y", "ü 東京\n": "z"},
        {
            "a": "properties.Email",
            "b": "properties.City",
            "c": "external_id_2",
            "d": "anonymous",
            "e": "exchange_id",
            "f": "locations",
        },
        {"a": " email ", "b": "$city", "c": "location.zip", "d": "$$title"},
    ],
    "email_consent_unset": ["subscribe", "leave"],
    "sms_consent_unset": ["subscribe", "leave"],
    "sms_transactional": [True, False],
    "on_profile_deleted": ["suppress", "erase", "ignore"],
    "reward_max_amount": [1, 0.01, 0.001, 999_999.99, 1_000_000],
    "reward_max_per_hour": [1, 7.0, 1_000_000],
    "dead_job_days": [1, 30, 7.0, 365],
    "receipt_days": [0, 1, 7.0, 365],
    "notify_url": [
        "https://example.com",
        "https://hooks.example.com:8443/a/b?c=d&e=%20",
        "https://1.1.1.1/",
    ],
}

BAD: dict[str, list[Any]] = {
    "namespace": ["", "-a", "a-", "a_b", "a b", "ü", "a" * 41, "a\n", 1, True, [], {}],
    "task_queue_name": ["", "canary-", "a/b", "a.b", "../x", "a" * 41, "a\u0000", 0, 1.5, ["acme"]],
    "identity_handle": [
        *(
            "",
            "..",
            ".",
            "canary/../canary",
            "canary?x=1",
            " ",
            " canary",
            "canary ",
            "canary\n",
            "canary" * 17,
        ),
        *(5, False, {}),
    ],
    "default_region": ["UK", "ZZ", "EU", "AA", "XX", "", "au", "AUS", "A", "A1", "ÄÖ", "AU\n", 61, ["AU"]],
    "timezone": [
        *("", "canary", "Melbourne", "australia/melbourne", "UTC+10", "../UTC", "/etc/passwd", 10, {}),
        *(
            "localtime",
            "Factory",
            "posixrules",
            "Etc/Unknown",
            "posix/Australia/Melbourne",
            "right/UTC",
            "Etc/GMT+10",
            "EST",
        ),
    ],
    "master_list_id": ["", "a b", "x" * 65, "ü", "a/b", 1234, ["Y6nRLr"]],
    "profile_exclude_logic": ["", "{}", [], [LOGIC], 1, True],
    "mappings": [
        "",
        [],
        {"a": 1},
        {"canary": None},
        {"a": {"b": "c"}},
        {"a": ["b"]},
        {"": "x"},
        {"x": ""},
        {"canary" * 40: "x"},
        {"x": "canary" * 40},
        {"__canary__": "x"},
        {"____": "x"},
        {"__\n__": "x"},
        {str(number): f"x{number}" for number in range(201)},
        *(
            {"canary": name}
            for name in (
                *(
                    "id",
                    "external_id",
                    "location",
                    "Properties",
                    "$meta",
                    "subscriptions",
                    "$id",
                    "_kx",
                    "anonymous_id",
                    " ",
                    "$",
                    "properties.",
                    "$anonymous",
                    "$exchange_id",
                ),
                *(
                    "EXTERNAL_ID",
                    " External_Id ",
                    "$ID",
                    "properties.id",
                    "properties.External_Id",
                    "properties.$_KX",
                    "Anonymous_ID",
                ),
                *(
                    "Email",
                    "E\u006dAIL",
                    "$Email",
                    "First_Name",
                    "City",
                    "Location.city",
                    "location.City",
                    "location.street",
                    "location.",
                ),
            )
        ),
        {" ": "canary"},
    ],
    "email_consent_unset": ["", "canary", "SUBSCRIBE", "leave ", True, 0, ["leave"]],
    "sms_consent_unset": ["", "canary", "Leave", 1, {}],
    "sms_transactional": ["true", "yes", "", 1, 0, 1.0, [], {}],
    "on_profile_deleted": ["", "canary", "delete", "Erase", False, 2],
    "reward_max_amount": [
        0,
        -1,
        -0.0,
        5e-324,
        0.000999,
        1_000_000.01,
        10**30,
        1e308,
        "5",
        "canary",
        True,
        [5],
        {},
    ],
    "reward_max_per_hour": [0, -1, 1.5, 1_000_001, 10**39, 2**63, "7", True, []],
    "notify_url": [
        *("", "canary", "http://example.com", "https://", "https://canary@example.com/", "ftp://example.com"),
        *(
            "https://example.com/a b",
            "https://example.com/#canary",
            "https://example.com\\@canary",
            "HTTPS://x",
        ),
        *("https://example.com/" + "x" * 500, 5, True, ["https://example.com"]),
    ],
    "dead_job_days": [0, -1, 366, 1.5, 30.000001, 10**39, "7", "canary", True, [], {}],
    "receipt_days": [-1, 366, 1.5, 30.000001, 10**39, "7", "canary", True, [], {}],
}

# Bad too, but the schema cannot say so.
BEYOND_THE_SCHEMA: list[tuple[str, Any]] = [
    ("identity_handle", "canary\u2028"),
    *(("mappings", {"canary": name}) for name in ("i\u200bd", "\u200b", "Ci\u00adty", "\uff29\uff24")),
    ("mappings", {"\u2060": "canary"}),
    ("mappings", {"canary.a": "canary", "canary.b": "canary"}),
    ("mappings", {"canary.a": "organization", "canary.b": "$organization"}),
    ("mappings", {"canary.a": "city", "canary.b": "location.city"}),
    ("mappings", {"canary.a": "canary", "canary.b": "properties.canary"}),
    ("mappings", {str(number): "x" for number in range(200)}),
    ("profile_exclude_logic", nested(20)),
    ("profile_exclude_logic", {"sounds_like": ["canary"]}),
    ("profile_exclude_logic", {"$sealed": "canary"}),
    ("profile_exclude_logic", {"!": {"canary@example.org": 1}}),
    ("profile_exclude_logic", {"log": {"var": "email"}}),
    ("profile_exclude_logic", {"==": [{"var": "email"}]}),
    ("profile_exclude_logic", {"!": [{"==": [1, 1], "!=": [1, 2]}]}),
    ("profile_exclude_logic", {"==": [1, 1], "!": [1]}),
    ("profile_exclude_logic", {"in": [[[[[[[[[["x"]]]]]]]]]]}),
    ("profile_exclude_logic", {"==": [2**63, 1]}),
    ("profile_exclude_logic", {"==": [10**39, 1]}),
    ("profile_exclude_logic", {"==": [{"__x__": "canary"}, 1]}),
    ("profile_exclude_logic", {"!": {"": "canary"}}),
    ("profile_exclude_logic", {"canary" * 40: 1}),
    ("profile_exclude_logic", {"$" * 1500: 1}),
    ("profile_exclude_logic", {"in": ["canary" * (LONGEST_LOGIC // 6)]}),
    ("profile_exclude_logic", {"in": [[] for _ in range(LONGEST_LOGIC // 3)]}),
]


def rows(table: Mapping[str, list[Any]]) -> list[Any]:
    return [
        pytest.param(key, value, id=f"{key}-{number}")
        for key, values in table.items()
        for number, value in enumerate(values)
    ]


def a_shop(**changes: Any) -> Tenant:
    secret = StoredSecret(id="n1", value=SecretStr("canary"), created_at=NOW)
    return a_tenant("acme", NOW, **{"notify_secrets": (secret,), **changes})


def accepts(changes: Mapping[str, Any], tenant: Tenant | None = None) -> bool:
    try:
        edited(tenant or a_shop(), changes, NOW)
    except (InvalidPayloadError, ConflictError):
        return False
    return True


class TestValues:
    def test_every_setting_stands_in_both_tables(self) -> None:
        assert GOOD.keys() == BAD.keys() == TenantSettings.model_fields.keys()

    @pytest.mark.parametrize(("key", "value"), rows(GOOD))
    def test_a_good_value_is_taken_and_only_that_setting_changes(self, key: str, value: Any) -> None:
        before = a_shop().settings.model_dump(mode="json")
        after = edited(a_shop(), {key: value}, NOW).settings.model_dump(mode="json")
        assert after == {**before, key: value}

    @pytest.mark.parametrize(("key", "value"), [*rows(BAD), *BEYOND_THE_SCHEMA])
    def test_a_bad_value_is_refused_by_the_name_of_its_setting_and_not_repeated(
        self, key: str, value: Any
    ) -> None:
        with pytest.raises(InvalidPayloadError) as caught:
            edited(a_shop(), {key: value}, NOW)
        message = str(caught.value)
        assert message.startswith(f"{key}: ")
        assert message.endswith(".")
        assert "canary" not in message
        assert "Value error" not in message
        assert len(message) < 300

    @pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
    @pytest.mark.parametrize("key", ["reward_max_amount", "reward_max_per_hour", "dead_job_days"])
    def test_what_is_no_number_is_refused(self, key: str, number: float) -> None:
        with pytest.raises(InvalidPayloadError, match=f"^{key}: "):
            edited(a_shop(), {key: number}, NOW)

    @pytest.mark.parametrize("key", GOOD)
    def test_null_brings_the_default_back(self, key: str) -> None:
        changed = edited(a_shop(), {key: GOOD[key][-1]}, NOW)
        assert edited(changed, {key: None}, NOW).settings == a_shop().settings

    def test_absent_stays(self) -> None:
        whole = {key: values[0] for key, values in GOOD.items()}
        tenant = edited(a_shop(), whole, NOW)
        assert edited(tenant, {}, NOW) == tenant
        after = edited(tenant, {"dead_job_days": 9}, NOW).settings
        assert after == tenant.settings.model_copy(update={"dead_job_days": 9})

    def test_of_several_changes_with_one_bad_nothing_is_taken(self) -> None:
        with pytest.raises(InvalidPayloadError, match=r"^dead_job_days: "):
            edited(a_shop(), {"timezone": "UTC", "dead_job_days": 0, "webhook_secret": "x" * 16}, NOW)

    def test_an_unknown_setting_is_named(self) -> None:
        with pytest.raises(InvalidPayloadError, match=r"^There is no setting a_setting, another\.$"):
            edited(a_shop(), {"timezone": "UTC", "another": "canary", "a_setting": 1}, NOW)

    @pytest.mark.parametrize("key", ["omneo_signing_secret", "klaviyo", "name", "settings"])
    def test_what_is_no_setting_of_the_merchants_cannot_be_set(self, key: str) -> None:
        with pytest.raises(InvalidPayloadError, match=f"There is no setting {key}"):
            edited(a_shop(), {key: "canary"}, NOW)

    def test_what_a_newer_revision_has_stored_stays_even_a_secret(self) -> None:
        newer = TenantSettings.model_validate(
            {"task_queue_name": "acme", "later": {"a": [1]}, "later_secret": SecretStr("canary")}
        )
        after = edited(a_shop(settings=newer), {"timezone": "UTC"}, NOW).settings
        assert after.model_extra == {"later": {"a": [1]}, "later_secret": SecretStr("canary")}
        with pytest.raises(InvalidPayloadError, match="no setting later"):
            edited(a_shop(settings=newer), {"later": 1}, NOW)

    def test_a_name_of_a_newer_revision_may_be_any(self) -> None:
        stored = {"task_queue_name": "acme", "email_consent_unset": "leave", "reward_max_amount": 5}
        assert TenantSettings.model_validate(stored).reward_max_amount == 5

    def test_nobody_is_told_without_a_secret_to_sign_with(self) -> None:
        with pytest.raises(ConflictError, match=r"^notify_url: make a secret first"):
            edited(a_shop(notify_secrets=()), {"notify_url": "https://example.com"}, NOW)
        assert accepts({"notify_url": None}, a_shop(notify_secrets=()))


class TestFixedOnceInstalled:
    @pytest.mark.parametrize("key", ["namespace", "task_queue_name"])
    @pytest.mark.parametrize("disconnected", ["", "invalid_grant"])
    def test_what_queues_are_named_after_is_fixed(self, key: str, disconnected: str) -> None:
        tenant = a_shop(klaviyo=a_connection(disconnected))
        with pytest.raises(ConflictError, match=f"^{key} is fixed"):
            edited(tenant, {key: "other", "timezone": "UTC"}, NOW)

    def test_saying_it_again_is_no_change(self) -> None:
        tenant = a_shop(klaviyo=a_connection())
        same = {"namespace": "klaviyo", "task_queue_name": "acme"}
        assert edited(tenant, same, NOW) == tenant
        assert edited(tenant, dict.fromkeys(same), NOW) == tenant

    def test_null_is_a_change_where_it_was_not_the_default(self) -> None:
        settings = TenantSettings(task_queue_name="other", namespace="klaviyo")
        with pytest.raises(ConflictError, match="task_queue_name"):
            edited(a_shop(klaviyo=a_connection(), settings=settings), {"task_queue_name": None}, NOW)


def a_connection(disconnected: str = "") -> KlaviyoConnection:
    return KlaviyoConnection(
        access_token=SecretStr("canary"),
        refresh_token=SecretStr("canary"),
        expires_at=NOW,
        connected_at=NOW,
        disconnected_reason=disconnected,
    )


class TestSecrets:
    @pytest.mark.parametrize("value", ["x" * 16, "!~" * 8, "x" * LONGEST_SECRET])
    def test_a_new_one_comes_first_and_the_old_stays(self, value: str) -> None:
        before = a_shop().webhook_secrets
        tenant = a_shop(webhook_secrets=before)
        newest, *older = edited(tenant, {"webhook_secret": value}, NOW + timedelta(1)).webhook_secrets
        assert (newest.value.get_secret_value(), newest.created_at) == (value, NOW + timedelta(1))
        assert tuple(older) == before

    @pytest.mark.parametrize(
        "value",
        [
            None,
            "",
            "canary-fifteen.",
            "canary canary canary",
            "canary-sixteen-ü",
            "canary\ncanary-canary",
            "canary-canary-canary\u0000",
            "x" * (LONGEST_SECRET + 1),
            1234567890123456,
            ["canary-canary-canary"],
        ],
        ids=range(10),
    )
    def test_a_bad_one_is_refused_and_not_repeated(self, value: Any) -> None:
        with pytest.raises(InvalidPayloadError, match=r"^webhook_secret (needs 16 to|must be)") as caught:
            edited(a_shop(), {"webhook_secret": value}, NOW)
        assert "canary" not in str(caught.value)

    def test_given_twice_it_is_there_once_and_pushes_nothing_out(self) -> None:
        once = edited(a_shop(), {"webhook_secret": "x" * 16}, NOW)
        twice = edited(once, {"webhook_secret": "x" * 16}, NOW)
        assert [s.value for s in twice.webhook_secrets] == [s.value for s in once.webhook_secrets]

    def test_there_is_a_most_beyond_which_one_has_to_be_ended_first(self) -> None:
        tenant = a_shop()
        for number in range(MOST_SECRETS - 1):
            tenant = edited(tenant, {"webhook_secret": f"secret-number-{number:02}"}, NOW)
        with pytest.raises(ConflictError, match="end_webhook_secrets"):
            edited(tenant, {"webhook_secret": "one-too-many-of-them"}, NOW)
        ended = [tenant.webhook_secrets[-1].id]
        changes = {"webhook_secret": "one-too-many-of-them", "end_webhook_secrets": ended}
        assert len(edited(tenant, changes, NOW).webhook_secrets) == MOST_SECRETS

    def test_older_ones_are_ended_by_id(self) -> None:
        tenant = self.with_three()
        kept, old, oldest = tenant.webhook_secrets
        assert edited(tenant, {"end_webhook_secrets": [old.id]}, NOW).webhook_secrets == (kept, oldest)
        assert edited(tenant, {"end_webhook_secrets": [oldest.id, old.id]}, NOW).webhook_secrets == (kept,)
        assert edited(tenant, {"end_webhook_secrets": []}, NOW) == tenant

    def test_the_newest_cannot_be_ended_not_even_beside_a_new_one(self) -> None:
        tenant = self.with_three()
        ids = [secret.id for secret in tenant.webhook_secrets]
        for changes in (
            {"end_webhook_secrets": ids[:1]},
            {"end_webhook_secrets": ids},
            {"end_webhook_secrets": ids[:1], "webhook_secret": "x" * 16},
        ):
            with pytest.raises(InvalidPayloadError, match="older secrets only"):
                edited(tenant, changes, NOW)

    @pytest.mark.parametrize("ended", [None, "", "id", {}, 1, [1], [None], [["id"]], ["canary"], [""]])
    def test_what_names_no_older_secret_is_refused_and_not_repeated(self, ended: Any) -> None:
        with pytest.raises(InvalidPayloadError, match=r"^end_webhook_secrets") as caught:
            edited(self.with_three(), {"end_webhook_secrets": ended}, NOW)
        assert "canary" not in str(caught.value)

    @staticmethod
    def with_three() -> Tenant:
        return a_shop(
            webhook_secrets=tuple(
                StoredSecret(value=SecretStr(f"canary-secret-{n}"), created_at=NOW) for n in range(3)
            )
        )


class TestSchema:
    def test_it_is_of_the_draft_it_names_and_plain_json(self) -> None:
        assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert json.loads(json.dumps(SCHEMA, allow_nan=False)) == SCHEMA
        assert SCHEMA["type"] == "object"
        assert "required" not in SCHEMA
        jsonschema_rs.meta.validate(SCHEMA)
        assert {word for rule in rules_of(SCHEMA) for word in rule} <= WORDS

    def test_it_describes_every_setting_and_every_secret(self) -> None:
        shown = {name for name, rule in SCHEMA["properties"].items() if rule.get("readOnly")}
        assert shown == {"webhook_secrets", "omneo_signing_secrets", "omneo_token", "account"}
        names = {*TenantSettings.model_fields, "webhook_secret", "end_webhook_secrets", *shown}
        assert SCHEMA["properties"].keys() == names
        assert all(rule["description"] for rule in SCHEMA["properties"].values())
        write_only = {name for name, rule in SCHEMA["properties"].items() if rule.get("writeOnly")}
        assert write_only == {"webhook_secret", "end_webhook_secrets"}

    def test_its_defaults_are_the_defaults(self) -> None:
        defaults = TenantSettings(task_queue_name="acme").model_dump(mode="json")
        said = {name: rule["default"] for name, rule in SCHEMA["properties"].items() if "default" in rule}
        assert said == {name: defaults[name] for name in said}
        assert said.keys() == TenantSettings.model_fields.keys() - {"task_queue_name"}

    @pytest.mark.parametrize(
        "key", sorted(key for key in SCHEMA["properties"] if key in GOOD or key == "webhook_secret")
    )
    def test_its_examples_are_taken(self, key: str) -> None:
        for value in SCHEMA["properties"][key]["examples"]:
            assert fits({key: value})
            assert accepts({key: value})

    @pytest.mark.parametrize(("key", "value"), rows(GOOD))
    def test_it_accepts_what_is_taken(self, key: str, value: Any) -> None:
        assert fits({key: value})

    @pytest.mark.parametrize("key", GOOD)
    def test_it_accepts_null_for_a_default(self, key: str) -> None:
        assert fits({key: None})

    @pytest.mark.parametrize(("key", "value"), rows(BAD))
    def test_it_refuses_what_is_refused(self, key: str, value: Any) -> None:
        assert not fits({key: value})

    def test_it_refuses_an_unknown_setting(self) -> None:
        assert not fits({"another": 1})
        assert not fits([])
        assert fits({})

    @pytest.mark.parametrize(
        "value", ["x" * 16, "x" * 15, "x" * 1000, "x" * 1001, "a canary secret.", "ü" * 16, None, 1, "!~" * 8]
    )
    def test_it_says_of_a_secret_what_is_so(self, value: Any) -> None:
        assert fits({"webhook_secret": value}) == accepts({"webhook_secret": value})

    @settings(max_examples=400, deadline=None)
    @given(st.data())
    def test_it_and_the_code_agree_on_any_small_value(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(GOOD)))
        value = data.draw(st.sampled_from([*GOOD[key], *BAD[key]]) | small_values)
        assert fits({key: value}) == accepts({key: value})

    @settings(max_examples=400, deadline=None)
    @given(st.data())
    def test_it_and_the_code_agree_on_any_body_of_several_settings(self, data: st.DataObject) -> None:
        keys = data.draw(st.sets(st.sampled_from([*sorted(GOOD), "webhook_secret", "another"]), max_size=5))
        body = {
            key: data.draw(
                st.sampled_from([*GOOD.get(key, ["x" * 16]), *GOOD.get(key, []), *BAD.get(key, [])])
            )
            for key in sorted(keys)
        }
        assert fits(body) == accepts(body)


SHOP = a_shop(webhook_secrets=(StoredSecret(id="a1", value=SecretStr("canary"), created_at=NOW),))


class TestSentBack:
    SHOWN: ClassVar[dict[str, Any]] = {
        "webhook_secrets": [{"id": "a1", "created_at": NOW.isoformat(), "last_used_at": None}],
        "omneo_token": "set",
        "account": {"timezone": "", "country": ""},
    }

    def test_what_is_only_shown_may_be_sent_back_and_changes_nothing(self) -> None:
        used = [{**self.SHOWN["webhook_secrets"][0], "last_used_at": NOW.isoformat()}]
        for body in (self.SHOWN, {**self.SHOWN, "webhook_secrets": used}):
            assert fits(body)
            assert edited(SHOP, body, NOW) == SHOP

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("omneo_token", "canary-new-token"),
            ("omneo_token", None),
            ("webhook_secrets", []),
            ("webhook_secrets", [{"id": "b2", "created_at": NOW.isoformat()}]),
            ("webhook_secrets", ["canary"]),
            ("webhook_secrets", None),
            ("omneo_signing_secrets", []),
            ("account", {"timezone": "canary", "country": ""}),
            ("account", 1),
        ],
    )
    def test_what_is_only_shown_cannot_be_changed(self, key: str, value: Any) -> None:
        with pytest.raises(InvalidPayloadError, match=f"^{key} is only shown") as caught:
            edited(SHOP, {key: value, "timezone": "UTC"}, NOW)
        assert "canary" not in str(caught.value)

    def test_a_stored_value_that_would_be_refused_today_is_no_change(self) -> None:
        before = a_shop(settings=TenantSettings(task_queue_name="acme", default_region="UK"))
        body = {"default_region": "UK", "dead_job_days": 9}
        assert edited(before, body, NOW).settings.dead_job_days == 9
        with pytest.raises(InvalidPayloadError, match="default_region"):
            edited(a_shop(), body, NOW)

    @pytest.mark.parametrize("value", [1, 1.0, "true"])
    def test_a_value_of_another_kind_is_no_value_sent_back(self, value: Any) -> None:
        before = edited(a_shop(), {"sms_transactional": True}, NOW)
        assert not accepts({"sms_transactional": value}, before)


small_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 400)
    | st.floats(-3, 400, allow_nan=False)
    | st.text("abcAU_-/$ü1", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text("ab$_", min_size=1, max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
).filter(lambda value: "__" not in json.dumps(value))


def fits(value: Any) -> bool:
    """Return whether the published schema accepts a value."""
    return bool(REFEREE.is_valid(value))


# The words of draft 2020-12 that the schema uses. A misspelt one would say nothing, and nobody would notice.
WORDS = {
    *("title", "description", "default", "examples", "writeOnly", "readOnly", "$schema", "$defs", "$ref"),
    *("type", "enum", "anyOf", "not", "pattern", "minLength", "maxLength", "minimum", "maximum"),
    *("exclusiveMinimum", "items", "properties", "additionalProperties", "propertyNames", "maxProperties"),
    "required",
}


def rules_of(rule: Any) -> Iterator[dict[str, Any]]:
    """Yield a schema and every schema within it."""
    if not isinstance(rule, dict):
        return
    yield rule
    for word in ("properties", "$defs"):
        for inner in rule.get(word, {}).values():
            yield from rules_of(inner)
    for word in ("items", "additionalProperties", "propertyNames", "not"):
        yield from rules_of(rule.get(word))
    for inner in rule.get("anyOf", ()):
        yield from rules_of(inner)
