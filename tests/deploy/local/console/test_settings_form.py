"""A tenant's settings as a form: made of the published schema, and read back as what PUT settings takes."""

from typing import Any

import pytest

from deploy.local.console.settings_form import CannotSaveError, changes, fields
from shared.tenants.settings import TenantSettings, settings_schema

SCHEMA = settings_schema(16)
SETTINGS: dict[str, Any] = TenantSettings(task_queue_name="acme").model_dump(mode="json") | {
    "webhook_secrets": [],
    "omneo_token": "set",
}


def filled(**values: str) -> dict[str, str]:
    """Return the form as it is shown, with some fields filled in anew."""
    return {field.name: field.value for field in fields(SCHEMA, SETTINGS)} | values


def test_every_setting_that_can_be_changed_has_a_field_of_its_kind() -> None:
    kinds = {field.name: field.kind for field in fields(SCHEMA, SETTINGS)}
    assert set(kinds) == set(TenantSettings.model_fields)
    assert (kinds["timezone"], kinds["default_region"]) == ("offered", "offered")
    assert (kinds["sms_transactional"], kinds["on_profile_deleted"]) == ("choice", "choice")
    assert (kinds["mappings"], kinds["profile_exclude_logic"]) == ("json", "json")
    assert (kinds["dead_job_days"], kinds["reward_max_amount"], kinds["notify_url"]) == (
        "number",
        "number",
        "text",
    )
    assert all(field.hint for field in fields(SCHEMA, SETTINGS))


def test_a_form_that_nobody_changed_changes_nothing() -> None:
    assert changes(SCHEMA, SETTINGS, filled()) == {}
    assert changes(SCHEMA, SETTINGS, {}) == {}


def test_what_was_filled_in_is_read_as_its_kind_and_a_field_made_empty_is_null() -> None:
    form = filled(
        dead_job_days=" 60 ",
        reward_max_amount="12.5",
        sms_transactional="true",
        on_profile_deleted="erase",
        mappings='{"company": "organization"}',
        timezone="Australia/Melbourne",
        namespace="",
    )
    wanted = {
        "dead_job_days": 60,
        "reward_max_amount": 12.5,
        "sms_transactional": True,
        "on_profile_deleted": "erase",
        "mappings": {"company": "organization"},
        "timezone": "Australia/Melbourne",
        "namespace": None,
    }
    assert changes(SCHEMA, SETTINGS, form) == wanted


@pytest.mark.parametrize(("name", "text"), [("dead_job_days", "many"), ("mappings", "{company")])
def test_what_cannot_be_read_names_its_field(name: str, text: str) -> None:
    with pytest.raises(CannotSaveError, match=f"^{name}: write "):
        changes(SCHEMA, SETTINGS, filled(**{name: text}))
