"""What settings mean: what they name has to be there when they are written, and the doctor says when it no longer is."""

from typing import Any

import pytest

from shared.admin.doctor import examine
from shared.admin.settings import change_settings
from shared.errors import InvalidPayloadError
from tests.support.world import ACCOUNT, TENANT, World

BAD: list[tuple[str, Any, str]] = [
    ("default_region", "UK", "GB"),
    ("default_region", "ZZ", "ISO code"),
    ("default_region", "EU", "ISO code"),
    ("timezone", "localtime", "IANA time zone of a place"),
    ("timezone", "Etc/GMT+10", "IANA time zone of a place"),
    ("identity_handle", "..", "identity in Omneo"),
    ("mappings", {"custom.level": "EXTERNAL_ID"}, "finds a profile"),
    ("mappings", {"custom.level": "Email"}, "in lower case"),
    ("mappings", {"custom.level": "location.street"}, "other part of location"),
    ("mappings", {"custom.level": "Location"}, "as a whole"),
    ("mappings", {"custom.level": "$subscriptions"}, "as a whole"),
    ("mappings", {" ": "level"}, "path of a value in Omneo"),
    ("reward_max_amount", 0.0001, "0.001"),
    ("mappings", {"custom.level": "external_id"}, "finds a profile"),
    ("mappings", {"custom.level": "id"}, "finds a profile"),
    ("mappings", {"a": "city", "b": "$city"}, "one path only"),
    ("mappings", {"a": "$"}, "must name an attribute or a property"),
    ("profile_exclude_logic", {"!": {"cat": [{"var": ""}] * 500}}, "would build too large"),
]


def settings_findings(world: World) -> list[tuple[str, str]]:
    """Return what the doctor finds about the settings."""
    report = examine(world.read(), world.services)
    return [(row["severity"], row["message"]) for row in report["findings"] if row["check"] == "settings"]


@pytest.mark.parametrize(("key", "value", "says"), BAD)
def test_what_means_nothing_is_refused_when_it_is_written(
    world: World, key: str, value: Any, says: str
) -> None:
    before = world.tenant(installed=False)
    with pytest.raises(InvalidPayloadError, match=f"^{key}: .*{says}"):
        change_settings(TENANT, {key: value}, world.services)
    assert world.read() == before


@pytest.mark.parametrize(("key", "value", "says"), BAD)
def test_what_was_stored_before_is_the_doctors_to_tell_and_hinders_no_other_change(
    world: World, key: str, value: Any, says: str
) -> None:
    world.tenant()
    stored = world.read().settings.model_copy(update={key: value})
    world.services.tenants.change(TENANT, lambda tenant: tenant.model_copy(update={"settings": stored}))
    (finding,) = [row for row in settings_findings(world) if row[1].startswith(key)]
    assert finding[0] == "warning"
    assert says in finding[1]
    assert change_settings(TENANT, {"dead_job_days": 9}, world.services).settings.dead_job_days == 9


@pytest.mark.parametrize(
    ("region", "says"),
    [
        ("au", "This country is AU"),
        ("GBR", "This country is GB"),
        ("United Kingdom", "This country is GB"),
        ("U.S.A.", "This country is US"),
        (" NZ", "This country is NZ"),
        ("\uff21\uff35", "This country is AU"),
        ("canary", "ISO code of one country"),
        ("", "ISO code of one country"),
        ("+61", "ISO code of one country"),
    ],
)
def test_a_region_in_another_spelling_is_told_its_code(world: World, region: str, says: str) -> None:
    world.tenant(installed=False)
    with pytest.raises(InvalidPayloadError, match=f"^default_region: .*{says}") as refused:
        change_settings(TENANT, {"default_region": region}, world.services)
    assert "canary" not in str(refused.value)


def test_a_master_list_must_be_in_the_connected_account(world: World) -> None:
    world.tenant()
    world.sandbox.klaviyo.marketing_list(ACCOUNT, "Newsletter", id="Y6nRLr")
    with pytest.raises(InvalidPayloadError, match=r"^master_list_id: Klaviyo has no list of this id"):
        change_settings(TENANT, {"master_list_id": "Nowhere"}, world.services)
    assert world.read().settings.master_list_id is None
    assert change_settings(TENANT, {"master_list_id": "Y6nRLr"}, world.services).settings.master_list_id
    assert not [row for row in settings_findings(world) if "master_list_id" in row[1]]


def test_a_master_list_that_went_away_is_a_finding(world: World) -> None:
    settings = world.tenant().settings.model_copy(update={"master_list_id": "Nowhere"})
    world.services.tenants.change(TENANT, lambda tenant: tenant.model_copy(update={"settings": settings}))
    assert ("warning", "master_list_id: Klaviyo has no list of this id in the connected account.") in (
        settings_findings(world)
    )


def test_without_an_account_a_list_is_taken_as_it_is_said(world: World) -> None:
    world.tenant(installed=False)
    assert change_settings(TENANT, {"master_list_id": "Y6nRLr"}, world.services).settings.master_list_id
