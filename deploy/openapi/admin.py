"""The calls of CX Manager: a row for each row of `shared/admin/routes.py`, without which openapi.json cannot be written."""

from collections.abc import Mapping
from typing import Any

from deploy.openapi import desk
from deploy.openapi.operations import (
    A_QUEUED_CALL,
    ANY_OBJECT,
    COUNT,
    EVERYWHERE,
    QUEUED,
    TEXT,
    TIME,
    YES_OR_NO,
    Answer,
    Body,
    Json,
    Operation,
    Parameter,
    a_list,
    an_object,
    one_of,
    or_null,
)
from shared.admin.findings import Severity
from shared.receipts import Fate
from shared.resync.orders import Order
from shared.resync.rules.run import Kind, State, Undated
from shared.tenants.settings import settings_schema
from shared.tenants.tenants import WEBHOOK_SECRET_LENGTH, StepState
from shared.traffic.rules.counts import What


def settings() -> Json:
    """Return the schema of what PUT takes, without the names of the time zones: a machine may know more of them than another."""
    schema = settings_schema(WEBHOOK_SECRET_LENGTH)
    zone = schema["properties"]["timezone"]
    zone["anyOf"][0].pop("enum")
    zone["description"] += " `GET settings/schema` lists the names."
    return _inlined(schema)


def _inlined(schema: Json) -> Json:
    """Return the schema with its own references replaced by what they name: in openapi.json they would lead nowhere."""

    def inlined(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                rest = {name: inner for name, inner in value.items() if name != "$ref"}
                return {**inlined(schema["$defs"][value["$ref"].rpartition("/")[2]]), **rest}
            return {name: inlined(inner) for name, inner in value.items()}
        return [*map(inlined, value)] if isinstance(value, list) else value

    return {name: inlined(rule) for name, rule in schema.items() if name not in ("$defs", "$schema")}


SECRET_SHOWN = an_object({"id": TEXT, "created_at": TIME, "last_used_at": or_null(TIME)})
STEP = an_object({"name": TEXT, "title": TEXT, "state": one_of(StepState), "reason": TEXT})
A_STEP: Json = {"name": "webhook", "title": "The webhook in Klaviyo", "state": "done", "reason": ""}
COUNTED = an_object({"count": COUNT, "last_at": or_null(TIME)})
SCHEMAS: Mapping[str, Json] = {
    **desk.SCHEMAS,
    "Settings": settings(),
    "SettingsShown": an_object(
        {
            **{
                name: {}
                for name, rule in settings_schema(WEBHOOK_SECRET_LENGTH)["properties"].items()
                if not rule.get("writeOnly") and not rule.get("readOnly")
            },
            "webhook_secrets": a_list(SECRET_SHOWN),
            "omneo_signing_secrets": a_list(SECRET_SHOWN),
            "omneo_token": {"const": "set"},
            "account": an_object({"timezone": TEXT, "country": TEXT}),
        }
    ),
    "Run": an_object(
        {
            "id": TEXT,
            "kind": one_of(Kind),
            "state": one_of(State),
            "reason": or_null(TEXT),
            "since": or_null(TIME),
            "only_consent": YES_OR_NO,
            "dry_run": YES_OR_NO,
            "undated_opt_ins": one_of(Undated),
            "started_at": TIME,
            "finished_at": or_null(TIME),
            "read": COUNT,
            "total": or_null(COUNT),
            "profiles_per_minute": COUNT,
            "seconds_left": or_null(COUNT),
            "imports_waiting": COUNT,
            "counts": {"type": "object", "additionalProperties": COUNT},
            "failures": {"type": "object", "additionalProperties": COUNT},
        },
        {"profiles": a_list({"type": "object", "additionalProperties": TEXT})},
    ),
    "Status": an_object(
        {
            "tenant": TEXT,
            "checked_at": TIME,
            "state": one_of(Severity),
            "klaviyo": an_object(
                {
                    "connected": YES_OR_NO,
                    "account_id": TEXT,
                    "account_name": TEXT,
                    "connected_at": or_null(TIME),
                }
            ),
            "findings": a_list(
                an_object(
                    {
                        "check": TEXT,
                        "severity": one_of(Severity),
                        "message": TEXT,
                        "repair": TEXT,
                        "safe": YES_OR_NO,
                    }
                )
            ),
            "steps": a_list(STEP),
            "queues": {
                "type": "object",
                "additionalProperties": or_null(
                    an_object(
                        {
                            "name": TEXT,
                            "exists": YES_OR_NO,
                            "paused": YES_OR_NO,
                            "depth": COUNT,
                            "oldest": or_null(TIME),
                        }
                    )
                ),
            },
            "dead_jobs": COUNT,
            "webhook_secrets": a_list(SECRET_SHOWN),
            "left_behind": a_list(TEXT),
            "run": or_null({"$ref": "#/components/schemas/Run"}),
        }
    ),
    "Receipt": an_object(
        {
            "status": {"const": "erased"},
            "erased_at": TIME,
            "removed": {"type": "object", "additionalProperties": COUNT},
            "asked_of_klaviyo": COUNT,
            "lives_in_omneo": YES_OR_NO,
            "stays": a_list(TEXT),
        }
    ),
    "Traffic": an_object(
        {
            "tenant": TEXT,
            "since": TIME,
            "until": TIME,
            "targets": a_list(
                an_object(
                    {
                        "target": TEXT,
                        "metric": TEXT,
                        "accepted": COUNTED,
                        "refused": an_object(
                            {
                                "count": COUNT,
                                "last_at": or_null(TIME),
                                "reasons": a_list(
                                    an_object({"reason": TEXT, "count": COUNT, "last_at": TIME})
                                ),
                            }
                        ),
                        "delivered": COUNTED,
                        "waiting": COUNTED,
                        "dead": COUNTED,
                        "times": a_list(an_object({"at": TIME, **{what.value: COUNT for what in What}})),
                    }
                )
            ),
        }
    ),
    "Job": an_object(
        {"id": TEXT, "kind": TEXT, "state": one_of(Fate)},
        {
            "at": TIME,
            "metric": TEXT,
            "attempts": COUNT,
            "why": TEXT,
            "next_try_at": or_null(TIME),
            "answered": TEXT,
            "reason": TEXT,
            "row": TEXT,
            "run": one_of(State),
        },
    ),
    "Explanation": an_object(
        {
            "profile_id": TEXT,
            "revealed": YES_OR_NO,
            "matched": an_object({"by": TEXT, "klaviyo_id": or_null(TEXT), "why": TEXT}),
            "synced_before": or_null(
                an_object({"read_at": TIME, "klaviyo_id": TEXT, "same_account": YES_OR_NO})
            ),
            "excluded": an_object(
                {"reason": or_null(TEXT), "why": or_null(TEXT), "trace": a_list(ANY_OBJECT)}
            ),
            "would_send": or_null(ANY_OBJECT),
            "notes": a_list(an_object({"name": TEXT, "reason": TEXT, "why": TEXT})),
            "consent": a_list(an_object({"consent": TEXT, "outcome": TEXT, "reason": TEXT, "why": TEXT})),
            "open_jobs": a_list(an_object({"kind": TEXT, "state": TEXT, "at": TIME, "why": TEXT})),
            "events": a_list(
                an_object({"id": TEXT, "kind": TEXT, "metric": TEXT, "state": TEXT, "at": TIME, "why": TEXT})
            ),
            "rewards": a_list(an_object({"reward_id": {"type": ["integer", "string"]}, "at": TIME})),
            "ledger": a_list(
                an_object({"at": TIME, "channel": TEXT, "before": TEXT, "after": TEXT, "source": TEXT})
            ),
        }
    ),
}

A_SECRET: Json = {"id": "3f9a1c20", "created_at": "2026-11-21T10:00:00+00:00", "last_used_at": None}
SETTINGS_SHOWN: Json = {
    "namespace": "klaviyo",
    "task_queue_name": "acme",
    "identity_handle": "klaviyo",
    "default_region": None,
    "timezone": "Australia/Melbourne",
    "master_list_id": None,
    "profile_exclude_logic": None,
    "mappings": {"company": "organization"},
    "email_consent_unset": "subscribe",
    "sms_consent_unset": "subscribe",
    "sms_transactional": False,
    "on_profile_deleted": "suppress",
    "reward_max_amount": None,
    "reward_max_per_hour": None,
    "dead_job_days": 30,
    "notify_url": None,
    "receipt_days": 0,
    "webhook_secrets": [A_SECRET],
    "omneo_signing_secrets": [A_SECRET],
    "omneo_token": "set",
    "account": {"timezone": "Australia/Melbourne", "country": "Australia"},
}
A_RUN: Json = {
    "id": "0d9f3f3c9e0b4d0a8a39b1a0a3f0c5d1",
    "kind": "resync",
    "state": "running",
    "reason": None,
    "since": None,
    "only_consent": False,
    "dry_run": False,
    "undated_opt_ins": "leave",
    "started_at": "2026-11-21T10:00:00+00:00",
    "finished_at": None,
    "read": 1200,
    "total": 50000,
    "profiles_per_minute": 600,
    "seconds_left": 4880,
    "imports_waiting": 1,
    "counts": {"sent": 1100},
    "failures": {},
}
A_STATUS: Json = {
    "tenant": "acme",
    "checked_at": "2026-11-21T10:00:00+00:00",
    "state": "ok",
    "klaviyo": {
        "connected": True,
        "account_id": "AcmeAc",
        "account_name": "Acme",
        "connected_at": "2026-11-20T09:00:00+00:00",
    },
    "findings": [
        {
            "check": "klaviyo",
            "severity": "ok",
            "message": "The account is connected.",
            "repair": "",
            "safe": False,
        }
    ],
    "steps": [A_STEP],
    "queues": {
        "inbound": {
            "name": "acme-klaviyo-inbound",
            "exists": True,
            "paused": False,
            "depth": 0,
            "oldest": None,
        }
    },
    "dead_jobs": 0,
    "webhook_secrets": [A_SECRET],
    "left_behind": [],
    "run": None,
}
_NONE: Json = {"count": 0, "last_at": None}
_SEEN: Json = {"count": 1200, "last_at": "2026-11-21T09:59:58+00:00"}
_REFUSED_AT = "2026-11-21T09:30:00+00:00"
A_TRAFFIC: Json = {
    "tenant": "acme",
    "since": "2026-11-20T10:00:00+00:00",
    "until": "2026-11-21T10:00:00+00:00",
    "targets": [
        {
            "target": "metric",
            "metric": "Reward Issued",
            "accepted": _SEEN,
            "refused": {
                "count": 1,
                "last_at": _REFUSED_AT,
                "reasons": [
                    {
                        "reason": "400, attributes.profile must be an object",
                        "count": 1,
                        "last_at": _REFUSED_AT,
                    }
                ],
            },
            "delivered": _SEEN,
            "waiting": _NONE,
            "dead": _NONE,
            "times": [
                {
                    "at": "2026-11-21T09:00:00+00:00",
                    "accepted": 1200,
                    "refused": 1,
                    "delivered": 1200,
                    "waiting": 0,
                    "dead": 0,
                }
            ],
        }
    ],
}
A_JOB: Json = {
    "id": "0d9f3f3c9e0b4d0a8a39b1a0a3f0c5d1",
    "kind": "send-metric",
    "state": "waiting",
    "at": "2026-11-21T10:00:00+00:00",
    "metric": "Reward Issued",
    "attempts": 1,
    "why": "Klaviyo answered 429",
    "next_try_at": "2026-11-21T10:00:30+00:00",
}
AN_EXPLANATION: Json = {
    "profile_id": "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01",
    "revealed": False,
    "matched": {
        "by": "stored_identity",
        "klaviyo_id": "01HX5N0V6ZJ0QK8H2T9A4R7B3C",
        "why": "Omneo holds its id.",
    },
    "synced_before": None,
    "excluded": {"reason": None, "why": None, "trace": []},
    "would_send": {"type": "profile", "attributes": {"first_name": "J***"}},
    "notes": [],
    "consent": [
        {
            "consent": "email",
            "outcome": "leave",
            "reason": "agrees",
            "why": "Nothing would be asked of Klaviyo. Both sides agree.",
        }
    ],
    "open_jobs": [],
    "events": [],
    "rewards": [],
    "ledger": [],
}


A_RECEIPT: Json = {
    "status": "erased",
    "erased_at": "2026-11-21T10:00:00+00:00",
    "removed": {"inbox": 3, "dead_jobs": 1, "consent": 1, "synced": 1, "waiting": 0, "rewards": 2},
    "asked_of_klaviyo": 0,
    "lives_in_omneo": False,
    "stays": ["The consent ledger keeps its records for three years."],
}


def _run_order() -> Json:
    """Return the schema of a body that begins a run."""
    schema = Order.model_json_schema()
    return _inlined(schema)


def _with_key(
    summary: str,
    *,
    status: int = 200,
    says: str,
    schema: Json,
    example: Json,
    parameters: tuple[Parameter, ...] = (),
    body: Body | None = None,
    errors: tuple[int, ...] = (),
    description: str = "",
) -> Operation:
    """Return a call that the installation key opens."""
    return Operation(
        summary,
        {status: Answer(says, schema, example)},
        opened_by=("installationKey",),
        parameters=parameters,
        body=body,
        description=description,
        errors=(*EVERYWHERE, *errors),
    )


def _begin(summary: str) -> Operation:
    orders = {
        "everything": {},
        "since": {"since": "2026-11-01T00:00:00Z", "only_consent": True, "dry_run": True},
        "undated": {"undated_opt_ins": "joined_date"},
    }
    return _with_key(
        summary,
        status=202,
        says="The run has begun. `id` is the run's.",
        schema=QUEUED,
        example=A_QUEUED_CALL,
        body=Body(_run_order(), orders, is_required=False),
        errors=(409, 415),
    )


def _run(summary: str, *, errors: tuple[int, ...] = (409,)) -> Operation:
    schema = {"$ref": "#/components/schemas/Run"}
    return _with_key(summary, says="How the run stands.", schema=schema, example=A_RUN, errors=errors)


REVEAL = Parameter(
    "reveal", "Show personal values, which are masked otherwise. That is logged.", YES_OR_NO, example=False
)
KLAVIYO = Parameter(
    "klaviyo",
    "Also ask Klaviyo to delete the person. Omneo's profile must be gone by then.",
    YES_OR_NO,
    example=False,
)
# Below /{tenant}/api/v1, by method and path.
OPERATIONS: Mapping[tuple[str, str], Operation] = {
    **desk.OPERATIONS,
    ("GET", "/settings"): _with_key(
        "Show the settings, and of each secret its id, age and last use",
        says="The settings. No secret is among them.",
        schema={"$ref": "#/components/schemas/SettingsShown"},
        example=SETTINGS_SHOWN,
    ),
    ("PUT", "/settings"): _with_key(
        "Change the settings that the body names",
        says="The settings as they are now.",
        schema={"$ref": "#/components/schemas/SettingsShown"},
        example=SETTINGS_SHOWN,
        body=Body(
            {"$ref": "#/components/schemas/Settings"},
            {
                "some": {"timezone": "Australia/Melbourne", "dead_job_days": 60},
                "defaults": {"timezone": None, "dead_job_days": None},
                "a new secret": {"webhook_secret": "at-least-16-characters"},
            },
        ),
        errors=(409, 415),
        description="What is absent stays as it is; null brings a default back. One value that is refused changes nothing at all.",
    ),
    ("GET", "/settings/schema"): _with_key(
        "The JSON Schema of what PUT settings takes",
        says="A JSON Schema, draft 2020-12.",
        schema=an_object({"$schema": TEXT, "title": TEXT, "properties": ANY_OBJECT}),
        example={
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Settings",
            "properties": {},
        },
    ),
    ("GET", "/status"): _with_key(
        "Is the tenant well, and if not, what mends it?",
        says="A report of the last minute.",
        schema={"$ref": "#/components/schemas/Status"},
        example=A_STATUS,
    ),
    ("GET", "/traffic"): _with_key(
        "What was accepted, refused and why, delivered, put back and given up, by target, metric and hour",
        says="The numbers since that moment.",
        schema={"$ref": "#/components/schemas/Traffic"},
        example=A_TRAFFIC,
        parameters=(
            Parameter(
                "since",
                "Since when: 24h, 7d, a date, or a time with its zone. At most 35 days ago; a day, if it is left out.",
                TEXT,
                example="24h",
            ),
        ),
    ),
    ("GET", "/jobs/{id}"): _with_key(
        "What became of a call that was answered 202 with this id",
        says="Where its job is.",
        schema={"$ref": "#/components/schemas/Job"},
        example=A_JOB,
        description="404 where nothing is known of it: `receipt_days` says of which jobs something is.",
    ),
    ("POST", "/install-link"): _with_key(
        "Make a link that starts an install without the installation key, once, within the hour",
        says="The link.",
        schema=an_object({"url": TEXT, "expires_at": TIME}),
        example={
            "url": "https://extension.example.com/klaviyo/install?link=eyJ0",
            "expires_at": "2026-11-21T11:00:00+00:00",
        },
    ),
    ("DELETE", "/install"): _with_key(
        "Uninstall: remove the webhooks on both sides, revoke and forget the tokens",
        says="What could not be removed stands in `left_behind`.",
        schema=an_object({"status": {"const": "uninstalled"}, "left_behind": a_list(TEXT)}),
        example={"status": "uninstalled", "left_behind": []},
        errors=(409,),
    ),
    ("POST", "/notify-secret"): _with_key(
        "Make a new secret for the messages that notify_url is told",
        says="The secret. It is shown once; the one before goes on signing beside it until the next is made.",
        schema=an_object({"secret": TEXT}),
        example={"secret": "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXM="},
    ),
    ("POST", "/heal"): _with_key(
        "Read back from Klaviyo the consent events that no webhook brought",
        status=202,
        says="The heal is queued.",
        schema=QUEUED,
        example=A_QUEUED_CALL,
        errors=(409,),
    ),
    ("GET", "/profiles/{id}/explain"): _with_key(
        "What a sync of the Omneo profile would do, and why. Nothing is sent",
        says="The explanation.",
        schema={"$ref": "#/components/schemas/Explanation"},
        example=AN_EXPLANATION,
        parameters=(REVEAL,),
        errors=(409,),
    ),
    ("DELETE", "/profiles/{id}"): _with_key(
        "Erase a person on our side, whether or not Omneo still knows them",
        says="The receipt: how many documents were removed, by kind, and what stays and why.",
        schema={"$ref": "#/components/schemas/Receipt"},
        example=A_RECEIPT,
        parameters=(KLAVIYO,),
        errors=(409,),
        description="`id` is the Omneo profile's: an email address has no place in a URL. Work of theirs that was accepted before is dropped when the queue"
        " delivers it. What is accepted later, as a new sign-up is, is done.",
    ),
    ("POST", "/resync"): _begin("Send the whole base to Klaviyo"),
    ("POST", "/reconcile"): _begin("Tell where consent differs. Nothing is sent"),
    ("POST", "/repair"): _begin("Mend consent where it differs"),
    ("GET", "/resync/{id}"): _run("How a run stands", errors=()),
    ("POST", "/resync/{id}/pause"): _run("Pause the run"),
    ("POST", "/resync/{id}/resume"): _run("Let the run go on, also one that has failed"),
    ("POST", "/resync/{id}/cancel"): _run("End the run"),
}
