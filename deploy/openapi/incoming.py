"""The calls of Omneo and Klaviyo: targets, rewards, and the webhooks of both sides."""

from collections.abc import Mapping

from deploy.openapi.operations import (
    A_QUEUED_CALL,
    ANY_OBJECT,
    COUNT,
    EVERYWHERE,
    QUEUED,
    TEXT,
    YES_OR_NO,
    Answer,
    Body,
    Json,
    Operation,
    Parameter,
    an_object,
)
from shared.klaviyo.resources import DATA_SOURCES
from shared.records.rules.record import MOST_RECORDS
from shared.rewards.rules.reward import LARGEST_AMOUNT

BY_OMNEO = ("omneoSignature", "webhookSecret")

# A number or a text: templates render text.
RENDERED: Json = {"type": ["string", "number", "null"]}
PROFILE_NAMED: Json = {"type": "object", "description": "`id` is Klaviyo's, `attributes.email` the address."}
EVENT_ATTRIBUTES = an_object(
    {"metric": ANY_OBJECT, "profile": PROFILE_NAMED},
    {
        "properties": ANY_OBJECT,
        "time": RENDERED,
        "value": RENDERED,
        "value_currency": RENDERED,
        "unique_id": RENDERED,
        "backfill": {},
    },
)
METRIC_SHAPES: Json = {
    "anyOf": [
        {
            "title": "Klaviyo's Create Event",
            **an_object({"data": an_object({"attributes": EVENT_ATTRIBUTES})}),
        },
        {"title": "The same without its envelope", **an_object({"attributes": EVENT_ATTRIBUTES})},
        {
            "title": "The retired Track call",
            **an_object(
                {"event": TEXT}, {"customer_properties": ANY_OBJECT, "properties": ANY_OBJECT, "time": {}}
            ),
        },
        {
            "title": "An Omneo context, with the metric's name in the URL",
            **an_object({"profile": an_object({}, {"id": TEXT, "email": TEXT})}),
        },
    ]
}
AN_EVENT: Json = {
    "metric": {"data": {"type": "metric", "attributes": {"name": "Reward Issued"}}},
    "profile": {"data": {"type": "profile", "attributes": {"email": "jane@example.org"}}},
    "properties": {"reward_amount": 20},
    "unique_id": "reward-71",
    "time": "2026-11-21T10:00:00Z",
}
METRIC_EXAMPLES = {
    "create event": {"data": {"type": "event", "attributes": AN_EVENT}},
    "attributes": {"type": "event", "attributes": AN_EVENT},
    "track": {
        "event": "Reward Issued",
        "customer_properties": {"$email": "jane@example.org"},
        "properties": {"reward_amount": 20},
    },
    "context": {"profile": {"email": "jane@example.org"}, "reward": {"id": 71, "amount": 20}},
}
RECORD: Json = {"type": "object", "minProperties": 1, "description": "Free-form; Klaviyo enforces no schema."}
RECORDS_SHAPES: Json = {
    "anyOf": [
        an_object({"data_source": TEXT, "record": RECORD}),
        an_object(
            {
                "data_source": TEXT,
                "records": {"type": "array", "items": RECORD, "minItems": 1, "maxItems": MOST_RECORDS},
            }
        ),
    ]
}
UPSERT_SHAPES: Json = {
    "anyOf": [
        an_object({"profile_id": TEXT}),
        an_object({"profile": an_object({"id": TEXT})}),
        an_object({"id": TEXT}),
    ]
}
REWARD_BODY = an_object(
    {
        "person_id": {**RENDERED, "description": "Klaviyo's profile id. May be empty if `email` is not."},
        "email": {**RENDERED, "description": "May be empty if `person_id` is not."},
        "data": an_object(
            {
                "amount": {
                    "type": ["number", "string"],
                    "description": f"Above 0 and at most {LARGEST_AMOUNT:,}.",
                }
            },
            {
                "reward_definition_id": RENDERED,
                "reward_definition_handle": RENDERED,
                "expires_at": RENDERED,
                "timezone": RENDERED,
                "meta": {},
            },
        ),
    },
    {"id": {**RENDERED, "description": "One reward for one person, however often it is called."}},
)
DELIVERY = an_object(
    {
        "meta": an_object({"klaviyo_webhook_id": TEXT}, {"klaviyo_account_id": TEXT, "timestamp": {}}),
        "data": {"type": "array", "items": {}},
    }
)


def _target(summary: str, schema: Json, examples: Mapping[str, object], *parameters: Parameter) -> Operation:
    return Operation(
        summary,
        {
            200: Answer(
                "Of a dry run: what would be sent, and to whom. Nothing is.",
                an_object({"status": {"const": "dry_run"}}),
                {"status": "dry_run"},
            ),
            202: Answer("It is queued, and safe.", QUEUED, A_QUEUED_CALL),
        },
        opened_by=BY_OMNEO,
        parameters=(
            *parameters,
            Parameter("dryRun", "Tell what would be sent, and send nothing.", YES_OR_NO),
        ),
        body=Body(schema, examples),
        errors=(*EVERYWHERE, 409, 415),
    )


# Below /{tenant}/api/v1/targets/klaviyo, by the name of the target.
TARGETS: Mapping[str, Operation] = {
    "metric": _target(
        "Create a Klaviyo event",
        METRIC_SHAPES,
        METRIC_EXAMPLES,
        Parameter("metric", "The metric's name, where the body gives none.", TEXT, example="Reward Issued"),
        Parameter("withToken", "Send an Omneo ID token along.", YES_OR_NO, example=False),
    ),
    "upsert-profile-data": _target(
        "Sync one Omneo profile to Klaviyo",
        UPSERT_SHAPES,
        {
            "by id": {"profile_id": "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01"},
            "context": {"id": 71, "profile": {"id": "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01"}},
        },
    ),
    "data-source-record": _target(
        "Send records to one of the six data sources: " + ", ".join(DATA_SOURCES),
        RECORDS_SHAPES,
        {
            "one": {"data_source": "rewards", "record": {"id": 71, "value": 20}},
            "many": {"data_source": "Omneo Rewards", "records": [{"id": 71}, {"id": 72}]},
        },
    ),
}

# Below /{tenant}/api/v1.
WEBHOOKS: Mapping[tuple[str, str], Operation] = {
    ("POST", "/webhooks/klaviyo/rewards"): Operation(
        "Issue an Omneo reward for a Klaviyo Flow",
        {
            200: Answer(
                "The reward, or the one that was issued for this `id` and person before.",
                an_object({"status": TEXT, "reward_id": {"type": ["integer", "string"]}}),
                {"status": "issued", "reward_id": 501},
            )
        },
        opened_by=("webhookSecret",),
        parameters=(
            Parameter("X-Klaviyo-Flow-ID", "The flow that calls; Klaviyo sends it.", TEXT, place="header"),
        ),
        body=Body(
            REWARD_BODY,
            {
                "birthday": {
                    "id": "birthday-2027",
                    "person_id": "",
                    "email": "jane@example.org",
                    "data": {"reward_definition_id": "7", "amount": "20.00"},
                }
            },
        ),
        errors=(*EVERYWHERE, 415, 429),
        description="Answers within nine seconds.",
    ),
    ("POST", "/webhooks/klaviyo/system"): Operation(
        "Take in a delivery of Klaviyo's system webhook",
        {
            202: Answer(
                "How many events were taken, and how many not, by reason.",
                an_object(
                    {
                        "status": {"const": "queued"},
                        "events": COUNT,
                        "left_out": {"type": "object", "additionalProperties": COUNT},
                    }
                ),
                {"status": "queued", "events": 2, "left_out": {}},
            )
        },
        opened_by=("klaviyoSignature",),
        parameters=(
            Parameter("Klaviyo-Timestamp", "Part of what is signed.", TEXT, place="header", is_required=True),
            Parameter(
                "Klaviyo-Webhook-Id",
                "The same as `meta.klaviyo_webhook_id`.",
                TEXT,
                example="01HX7WEBHOOK",
                place="header",
                is_required=True,
            ),
        ),
        body=Body(
            DELIVERY,
            {
                "unsubscribed": {
                    "meta": {
                        "klaviyo_webhook_id": "01HX7WEBHOOK",
                        "klaviyo_account_id": "AcmeAc",
                        "timestamp": "2026-11-21T10:00:00+00:00",
                    },
                    "data": [
                        {
                            "external_id": "3Xw9Zk",
                            "topic": "event:klaviyo.unsubscribed_from_email_marketing",
                            "payload": {
                                "data": {
                                    "type": "event",
                                    "id": "3Xw9Zk",
                                    "attributes": {"timestamp": 1795255200, "event_properties": {}},
                                    "relationships": {
                                        "profile": {
                                            "data": {"type": "profile", "id": "01HX5N0V6ZJ0QK8H2T9A4R7B3C"}
                                        }
                                    },
                                }
                            },
                        }
                    ],
                }
            },
        ),
        errors=(*EVERYWHERE, 415),
    ),
    ("POST", "/webhooks/omneo"): Operation(
        "Take in what Omneo tells of a profile",
        {
            202: Answer(
                "It is queued, and safe; or it is ignored, as what is no event of a profile.",
                {"anyOf": [QUEUED, an_object({"status": {"const": "ignored"}})]},
                A_QUEUED_CALL,
            )
        },
        opened_by=("omneoSignature",),
        parameters=(
            Parameter(
                "X-Omneo-Event",
                "The event.",
                TEXT,
                example="profile.updated",
                place="header",
                is_required=True,
            ),
        ),
        body=Body(ANY_OBJECT, {"updated": {"id": "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01"}}),
        errors=(*EVERYWHERE, 415),
    ),
}
