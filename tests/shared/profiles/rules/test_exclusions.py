"""Which profiles are never synced, and the reason that an operator is shown."""

from typing import Any

import pytest

from shared.json_logic.exclude_logic import ExcludeLogicError
from shared.profiles.rules.exclusions import Exclusion, exclusion
from tests.support.world import EMAIL

GOLD = {"==": [{"var": "tier_handle"}, "gold"]}


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ({"email": EMAIL}, None),
        ({"email": None}, None),
        ({}, None),
        ({"email": "canary@example.com"}, Exclusion.EXAMPLE_EMAIL),
        ({"email": "CANARY@Example.COM"}, Exclusion.EXAMPLE_EMAIL),
        ({"email": "canary@example.com.au"}, Exclusion.EXAMPLE_EMAIL),
        ({"email": "canary@shop.example.com"}, None),
        ({"email": "staff-profile-canary@example.org"}, Exclusion.STAFF_PROFILE),
        ({"email": "Staff-Profile-canary@example.org"}, Exclusion.STAFF_PROFILE),
        ({"email": "canary-staff-profile-7@example.org"}, None),
        ({"profile_type": "connection"}, Exclusion.CONNECTION_PROFILE),
        ({"profile_type": "active"}, None),
        ({"tags": ["vip", "connection"]}, Exclusion.CONNECTION_PROFILE),
        ({"tags": [{"name": "Connection"}]}, Exclusion.CONNECTION_PROFILE),
        ({"tags": [{"handle": "connection", "name": "Linked"}]}, Exclusion.CONNECTION_PROFILE),
        ({"flattened_tags": ["connection"]}, Exclusion.CONNECTION_PROFILE),
        ({"tags": ["connections"], "flattened_tags": None}, None),
        ({"connection": True}, Exclusion.CONNECTION_PROFILE),
        ({"connection": False}, None),
        ({"connection": {"id": 1}}, None),
        ({"tier_handle": "gold"}, Exclusion.EXCLUDE_LOGIC),
        ({"tier_handle": "gold", "connection": True}, Exclusion.CONNECTION_PROFILE),
    ],
)  # fmt: skip
def test_each_rule_has_its_own_reason(profile: dict[str, Any], expected: Exclusion | None) -> None:
    assert exclusion(profile, GOLD) is expected


@pytest.mark.parametrize("logic", [None, {}])
def test_without_logic_only_the_fixed_rules_hold(logic: dict[str, Any] | None) -> None:
    assert exclusion({"email": EMAIL, "tier_handle": "gold"}, logic) is None


def test_logic_that_cannot_be_evaluated_is_no_answer_unless_another_rule_decides() -> None:
    logic = {"+": [{"var": "email"}]}
    with pytest.raises(ExcludeLogicError):
        exclusion({"email": EMAIL}, logic)
    assert exclusion({"email": "canary@example.com"}, logic) is Exclusion.EXAMPLE_EMAIL
