"""The bodies and answers of CX Manager's calls, as JSON Schema. The calls are in admin.py, an example of each answer in examples.py."""

from collections.abc import Mapping
from typing import Any

from deploy.openapi import desk
from deploy.openapi.operations import (
    ANY_OBJECT,
    COUNT,
    TEXT,
    TIME,
    YES_OR_NO,
    Json,
    a_list,
    an_object,
    one_of,
    or_null,
)
from shared.admin.findings import Severity
from shared.receipts import Fate
from shared.resync.rules.run import Kind, State, Undated
from shared.tenants.settings import settings_schema
from shared.tenants.tenants import WEBHOOK_SECRET_LENGTH, StepState
from shared.traffic.rules.counts import What


def settings() -> Json:
    """Return the schema of the body of PUT, without the names of the time zones: machines know different ones."""
    schema = settings_schema(WEBHOOK_SECRET_LENGTH)
    zone = schema["properties"]["timezone"]
    zone["anyOf"][0].pop("enum")
    zone["description"] += " `GET settings/schema` lists the names."
    return inlined(schema)


def inlined(schema: Json) -> Json:
    """Return the schema with each reference replaced by its target: in openapi.json the references would lead nowhere."""

    def with_values(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                rest = {name: inner for name, inner in value.items() if name != "$ref"}
                return {**with_values(schema["$defs"][value["$ref"].rpartition("/")[2]]), **rest}
            return {name: with_values(inner) for name, inner in value.items()}
        return [*map(with_values, value)] if isinstance(value, list) else value

    return {name: with_values(rule) for name, rule in schema.items() if name not in ("$defs", "$schema")}


SECRET_SHOWN = an_object({"id": TEXT, "created_at": TIME, "last_used_at": or_null(TIME)})
STEP = an_object({"name": TEXT, "title": TEXT, "state": one_of(StepState), "reason": TEXT})
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
