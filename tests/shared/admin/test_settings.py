"""Changing a tenant's settings: as a whole or not at all, for good, and what becomes of it in Klaviyo and in the queue."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.admin.settings import change_settings, read_settings
from shared.direction import Direction
from shared.errors import ConflictError, InvalidPayloadError, QueueUnavailableError
from shared.notify.secret import new_notify_secret
from shared.tenants.settings import TenantSettings
from shared.tenants.tenants import StepState, Tenant
from shared.web.json_bodies import parse_json
from tests.support.merchant import settle
from tests.support.world import ACCOUNT, TENANT, WEBHOOK_SECRET, World

NEW_SECRET = "canary-new-webhook-secret"


def waiting(world: World) -> int:
    """Return how many jobs wait in the tenant's outbound queue."""
    return world.services.queue.state(world.read(), Direction.OUTBOUND).depth


def disconnected(tenant: Tenant) -> Tenant:
    assert tenant.klaviyo is not None
    gone = tenant.klaviyo.model_copy(update={"disconnected_reason": "invalid_grant"})
    return tenant.model_copy(update={"klaviyo": gone})


class TestStoring:
    def test_what_is_returned_is_what_is_stored(self, world: World) -> None:
        world.tenant(installed=False)
        changes = {
            "timezone": "Pacific/Auckland",
            "mappings": {"a.b": "c", "$sealed": "x", "sealed": "y"},
            "profile_exclude_logic": {"in": [{"var": "$sealed"}, ["a", ["b", []]]]},
            "reward_max_amount": 12.5,
            "email_consent_unset": "leave",
        }
        changed = change_settings(TENANT, changes, world.services)
        assert changed == world.read()
        shown = read_settings(world.read(), world.services)
        assert {key: shown[key] for key in changes} == changes

    @pytest.mark.parametrize("body", [None, [], "canary", 1, True, [{"timezone": "UTC"}]])
    def test_what_is_no_object_is_refused(self, world: World, body: object) -> None:
        before = world.tenant(installed=False)
        with pytest.raises(InvalidPayloadError, match="JSON object"):
            change_settings(TENANT, body, world.services)
        assert world.read() == before

    @pytest.mark.parametrize(
        "bad",
        [
            {"dead_job_days": 0},
            {"mappings": {"a": 1}},
            {"another": 1},
            {"end_webhook_secrets": ["canary"]},
            {"webhook_secret": "canary short"},
        ],
        ids=str,
    )
    def test_one_bad_change_among_good_ones_changes_nothing(self, world: World, bad: dict[str, Any]) -> None:
        before = world.tenant()
        good = {"timezone": "UTC", "webhook_secret": NEW_SECRET, "namespace": "klaviyo"}
        with pytest.raises(InvalidPayloadError) as caught:
            change_settings(TENANT, {**good, **bad}, world.services)
        assert next(iter(bad)) in str(caught.value)
        assert "canary" not in str(caught.value)
        assert world.read() == before
        assert waiting(world) == 0

    def test_a_tenant_that_was_just_deleted_is_a_conflict(self, world: World) -> None:
        with pytest.raises(ConflictError, match="deleted"):
            change_settings(TENANT, {"timezone": "UTC"}, world.services)

    def test_changes_that_meet_are_all_kept(self, world: World) -> None:
        world.tenant(installed=False)
        changes: list[dict[str, Any]] = [
            {"timezone": "UTC"},
            {"default_region": "NZ"},
            {"dead_job_days": 9},
            {"mappings": {"a": "b"}},
            {"sms_transactional": True},
            {"webhook_secret": NEW_SECRET},
        ]
        start = threading.Barrier(len(changes))

        def change(one: dict[str, Any]) -> None:
            start.wait(timeout=60)
            change_settings(TENANT, one, world.services)

        with ThreadPoolExecutor(len(changes)) as pool:
            list(pool.map(change, changes))
        shown = read_settings(world.read(), world.services)
        for one in changes[:-1]:
            assert {key: shown[key] for key in one} == one
        assert len(shown["webhook_secrets"]) == 2


class TestQueueNames:
    @pytest.mark.parametrize(
        "changes",
        [
            {"task_queue_name": "acme"},
            {"task_queue_name": "acme", "namespace": "klaviyo"},
            {"task_queue_name": "acme-stg", "namespace": "klaviyo-x"},
        ],
        ids=str,
    )
    def test_one_tenant_cannot_take_the_queues_of_another_nor_learn_whose_they_are(
        self, world: World, changes: dict[str, str]
    ) -> None:
        world.tenant("acme", installed=False)
        other = TenantSettings(task_queue_name="acme-stg-klaviyo", namespace="x")
        world.tenant("gamma", installed=False, settings=other)
        before = world.tenant("beta", installed=False)
        with pytest.raises(InvalidPayloadError, match=r"^task_queue_name: another tenant") as caught:
            change_settings("beta", changes, world.services)
        assert "gamma" not in str(caught.value)
        assert world.read("beta") == before

    def test_names_that_only_look_alike_are_free(self, world: World) -> None:
        world.tenant("acme", installed=False)
        world.tenant("beta", installed=False)
        after = change_settings("beta", {"task_queue_name": "Acme"}, world.services)
        assert after.queue_name(Direction.OUTBOUND) == "Acme-klaviyo-outbound"

    def test_after_an_uninstall_they_may_be_changed(self, world: World) -> None:
        world.tenant()
        with pytest.raises(ConflictError):
            change_settings(TENANT, {"namespace": "other"}, world.services)
        world.services.tenants.change(TENANT, lambda tenant: tenant.model_copy(update={"klaviyo": None}))
        assert change_settings(TENANT, {"namespace": "other"}, world.services).settings.namespace == "other"


class TestWebhookSecrets:
    def test_klaviyo_is_given_a_new_one_by_a_job(self, world: World) -> None:
        world.tenant()
        change_settings(TENANT, {"webhook_secret": "canary-first-webhook-secret"}, world.services)
        settle(world, 15)
        (hook,) = world.sandbox.klaviyo.webhooks(ACCOUNT)
        assert hook.secret_key == "canary-first-webhook-secret"
        world.sandbox.klaviyo.disable_webhook(ACCOUNT, hook.id)
        world.clock.advance(60)
        tenant = change_settings(TENANT, {"webhook_secret": NEW_SECRET}, world.services)
        assert tenant.provisions.steps.get("webhook") is None
        settle(world, 5)
        (after,) = world.sandbox.klaviyo.webhooks(ACCOUNT)
        assert (after.id, after.secret_key, after.enabled) == (hook.id, NEW_SECRET, True)
        assert world.read().provisions.steps["webhook"].state is StepState.DONE
        assert world.dead_jobs() == []

    def test_other_changes_ask_nothing_of_klaviyo(self, world: World) -> None:
        world.tenant()
        change_settings(TENANT, {"timezone": "UTC", "webhook_secret": NEW_SECRET}, world.services)
        assert waiting(world) == 1
        new, old = world.read().webhook_secrets
        change_settings(TENANT, {"timezone": "UTC"}, world.services)
        assert waiting(world) == 1
        settle(world, 15)
        change_settings(TENANT, {"end_webhook_secrets": [old.id]}, world.services)
        assert waiting(world) == 0
        assert [secret.id for secret in world.read().webhook_secrets] == [new.id]

    def test_the_old_one_is_not_ended_before_klaviyo_has_the_new_one(self, world: World) -> None:
        world.tenant()
        tenant = change_settings(TENANT, {"webhook_secret": NEW_SECRET}, world.services)
        old = tenant.webhook_secrets[1].id
        with pytest.raises(ConflictError, match="try again"):
            change_settings(TENANT, {"end_webhook_secrets": [old]}, world.services)
        assert len(world.read().webhook_secrets) == 2
        settle(world, 15)
        assert (
            len(change_settings(TENANT, {"end_webhook_secrets": [old]}, world.services).webhook_secrets) == 1
        )

    @pytest.mark.parametrize("edit", [None, disconnected])
    def test_where_no_account_is_connected_the_next_install_brings_it(self, world: World, edit: Any) -> None:
        world.tenant(installed=edit is not None)
        world.services.queue.ensure(world.read())
        if edit:
            world.services.tenants.change(TENANT, edit)
        change_settings(TENANT, {"webhook_secret": NEW_SECRET}, world.services)
        assert waiting(world) == 0
        assert [secret.value.get_secret_value() for secret in world.read().webhook_secrets] == [
            NEW_SECRET,
            WEBHOOK_SECRET,
        ]

    def test_if_the_queue_is_missing_the_same_call_again_gets_it_there(self, world: World) -> None:
        world.tenant()
        here = world.read().settings

        def renamed(tenant: Tenant) -> Tenant:
            return tenant.model_copy(update={"settings": here.model_copy(update={"namespace": "nowhere"})})

        world.services.tenants.change(TENANT, renamed)
        with pytest.raises(QueueUnavailableError):
            change_settings(TENANT, {"webhook_secret": NEW_SECRET}, world.services)
        world.services.tenants.change(TENANT, lambda t: t.model_copy(update={"settings": here}))
        change_settings(TENANT, {"webhook_secret": NEW_SECRET}, world.services)
        settle(world, 15)
        assert [hook.secret_key for hook in world.sandbox.klaviyo.webhooks(ACCOUNT)] == [NEW_SECRET]
        assert len(world.read().webhook_secrets) == 2


class TestShowing:
    def test_of_secrets_only_that_they_are_set_since_when_and_when_used(self, world: World) -> None:
        tenant = world.tenant()
        world.clock.advance(90)
        world.services.secret_uses.note(TENANT, tenant.webhook_secrets[0].id)
        shown = read_settings(tenant, world.services)
        assert shown["webhook_secrets"] == [
            {
                "id": tenant.webhook_secrets[0].id,
                "created_at": "2026-11-21T10:00:00+00:00",
                "last_used_at": "2026-11-21T10:01:30+00:00",
            }
        ]
        assert shown.keys() == {
            *TenantSettings.model_fields,
            "webhook_secrets",
            "omneo_signing_secrets",
            "omneo_token",
            "account",
        }
        text = json.dumps(shown)
        assert "canary" not in text
        assert tenant.installation_keys[0].hash not in text

    def test_what_a_newer_revision_stored_is_not_shown(self, world: World) -> None:
        newer = TenantSettings.model_validate({"task_queue_name": TENANT, "later": "x"})
        tenant = world.tenant(installed=False, settings=newer)
        assert "later" not in read_settings(tenant, world.services)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=6) | st.sampled_from(["$sealed", "sealed", "$list", "$datetime", "__x__", "$"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)
settings_names = st.sampled_from(
    [*TenantSettings.model_fields, "webhook_secret", "end_webhook_secrets", "omneo_token", "$sealed"]
)
logic = st.fixed_dictionaries({"profile_exclude_logic": st.dictionaries(st.text(max_size=8), json_values)})
mappings = st.fixed_dictionaries(
    {"mappings": st.dictionaries(st.text(max_size=8) | st.just("$sealed"), st.text(max_size=8), max_size=4)}
)
bodies = logic | mappings | st.dictionaries(settings_names, json_values, max_size=4) | json_values


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("notify_url", "https://[2606:4700:4700::1111]/canary", "https://example.com/hooks/klaviyo"),
        ("task_queue_name", "canary_", "acme"),
        ("master_list_id", "canary list", "Y6nRLr"),
    ],
)
def test_what_is_written_in_another_form_is_answered_with_an_example_and_no_pattern(
    world: World, key: str, value: str, says: str
) -> None:
    world.tenant(installed=False)
    new_notify_secret(world.services.tenants, TENANT, world.clock())
    with pytest.raises(InvalidPayloadError) as caught:
        change_settings(TENANT, {key: value}, world.services)
    assert str(caught.value) == f"{key}: must be written as in {says}."


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies)
def test_no_json_is_more_than_refused_and_the_tenant_stays_readable(world: World, body: object) -> None:
    if world.services.tenants.find(TENANT) is None:
        world.tenant(installed=False)
    before = world.read()
    try:
        value = parse_json("application/json", json.dumps(body).encode())
        after = change_settings(TENANT, value, world.services)
    except (InvalidPayloadError, ConflictError):
        after = before
    assert world.read() == after
    assert isinstance(read_settings(world.read(), world.services), dict)
