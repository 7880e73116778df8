"""The body to paste into a flow's webhook action: filled in, it is what the rewards webhook takes."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from deploy.local.console.flow_body import CannotFillInError, Reward, body, placeholder
from deploy.local.sandbox.klaviyo.flow_templates import parse, render

FILLED = Reward(definition="6", id="birthday-2027", amount="20")


def sent(reward: Reward, event: dict[str, Any]) -> Any:
    """Return what Klaviyo makes of the body for a person."""
    person = {"id": "01HXCANARY", "email": "canary@example.org"}
    return json.loads(render(parse(body(reward)), {"person": person, "event": event}, autoescape=False))


def test_a_body_is_filled_in_for_the_person() -> None:
    assert sent(FILLED, {}) == {
        "id": "birthday-2027-01HXCANARY",
        "person_id": "01HXCANARY",
        "email": "canary@example.org",
        "data": {"reward_definition_id": 6, "amount": "20", "meta": {"source": "klaviyo flow"}},
    }


def test_properties_of_the_event_go_into_id_and_amount_whatever_their_names() -> None:
    reward = replace(FILLED, id="", id_property="Order Number", amount="", amount_property="reward_amount")
    told = sent(reward, {"Order Number": "A-1", "reward_amount": 12.5})
    assert (told["id"], told["data"]["amount"]) == ("A-1-01HXCANARY", "12.5")
    both = replace(FILLED, id_property="items.sku", amount_property="reward_amount")
    assert sent(both, {"items": {"sku": "B"}, "reward_amount": 7})["id"] == "birthday-2027-B-01HXCANARY"


def test_handle_expiry_and_zone_are_written_where_they_are_given() -> None:
    reward = replace(FILLED, definition="birthday", expires_at="2099-12-31", timezone="Australia/Melbourne")
    data = sent(reward, {})["data"]
    assert data["reward_definition_handle"] == "birthday"
    assert (data["expires_at"], data["timezone"]) == ("2099-12-31", "Australia/Melbourne")
    assert datetime.fromisoformat(data["expires_at"]).replace(tzinfo=UTC).year == 2099


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"definition": " "}, "Reward"),
        ({"id": ""}, "Id"),
        ({"id": 'x"y'}, "Id"),
        ({"id": "{{ person.id }}"}, "Id"),
        ({"id": "x" * 101}, "Id"),
        ({"id_property": "it's"}, "Id property"),
        ({"amount": ""}, "Amount"),
        ({"amount": "0"}, "Amount"),
        ({"amount": "-1"}, "Amount"),
        ({"amount": "1,5"}, "Amount"),
        ({"amount": "1000001"}, "Amount"),
        ({"amount": "٣"}, "Amount"),
        ({"amount_property": "a}}b"}, "Amount property"),
        ({"expires_at": "tomorrow"}, "Expires"),
        ({"timezone": "a'b"}, "Time zone"),
    ],
)
def test_what_cannot_be_filled_in_names_its_field(fields: dict[str, str], says: str) -> None:
    with pytest.raises(CannotFillInError, match=f"^{says}: "):
        body(replace(FILLED, **fields))


def test_a_property_of_any_plain_name_has_a_placeholder() -> None:
    assert placeholder("Amount", " a_b.c ") == "{{ event.a_b.c }}"
    assert placeholder("Amount", "Größe 7") == "{{ event|lookup:'Größe 7' }}"
    with pytest.raises(CannotFillInError):
        placeholder("Amount", "")
