"""The dead-letter desk's part of the table in `admin.py`."""

from collections.abc import Mapping

from deploy.openapi.operations import (
    COUNT,
    EVERYWHERE,
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
from shared.admin.filters import FILTERS, MOST
from shared.jobs.dead_job import DeadJobState
from shared.jobs.jobs import KINDS
from shared.jobs.replays import Asker
from shared.jobs.rules.causes import Cause

_WORDS: Mapping[str, Json] = {"kind": one_of(sorted({*KINDS, "unread"})), "cause": one_of(sorted(Cause))}
_SAYS: Mapping[str, str] = {
    "kind": "Jobs of this kind.",
    "cause": "Those that died of this.",
    "reason": "Those whose reason holds these words, in any case.",
    "metric": "Events of this metric.",
    "profile": "Jobs about this person: the id of a profile, or its hash. In a body an address may stand here, in a URL it may not.",
    "since": "Those that died at this time or later.",
    "until": "Those that died before this time.",
}
FILTER_SCHEMAS: Json = {name: {**_WORDS.get(name, TEXT), "description": _SAYS[name]} for name in FILTERS}
SCHEMAS: Mapping[str, Json] = {
    "DeadJob": an_object(
        {
            "id": TEXT,
            "tenant": TEXT,
            "kind": TEXT,
            "metric": or_null(TEXT),
            "state": one_of(DeadJobState),
            "cause": one_of(Cause),
            "reason": TEXT,
            "what_to_do": TEXT,
            "goes_on_by_itself": YES_OR_NO,
            "first_died_at": TIME,
            "last_died_at": TIME,
            "deaths": COUNT,
            "attempts": COUNT,
            "request_id": or_null(TEXT),
            "replayed_at": or_null(TIME),
            "expires_at": or_null(TIME),
            "profiles": a_list(TEXT),
        },
        {"revealed": YES_OR_NO, "detail": TEXT, "body": {}},
    ),
    "HeldCause": an_object(
        {
            "cause": one_of(Cause),
            "count": COUNT,
            "records": COUNT,
            "reason": TEXT,
            "what_to_do": TEXT,
            "goes_on_by_itself": YES_OR_NO,
            "first_died_at": TIME,
            "last_died_at": TIME,
            "last_tried_at": or_null(TIME),
        }
    ),
    "ReplayRun": an_object(
        {
            "id": TEXT,
            "state": one_of(("running", "done", "failed")),
            "reason": or_null(TEXT),
            "asked_by": one_of(Asker),
            "filters": {"type": "object"},
            "started_at": TIME,
            "finished_at": or_null(TIME),
            "total": or_null(COUNT),
            "replayed": COUNT,
            "unreadable": COUNT,
            "waiting": COUNT,
            "died_again": COUNT,
            "succeeded": COUNT,
        }
    ),
}
A_DEAD_JOB: Json = {
    "id": "6f1c0f6d0f0f4a44a2f1b6a1d2f5c3aa",
    "tenant": "acme",
    "kind": "send-metric",
    "metric": "Reward Issued",
    "state": "dead",
    "cause": "refused",
    "reason": "Klaviyo refused the call (400). Sending it again unchanged will not help.",
    "what_to_do": "Look at the reason, change what it names, and replay the job.",
    "goes_on_by_itself": False,
    "first_died_at": "2026-11-21T10:00:00+00:00",
    "last_died_at": "2026-11-21T10:00:00+00:00",
    "deaths": 1,
    "attempts": 1,
    "request_id": None,
    "replayed_at": None,
    "expires_at": "2026-12-21T10:00:00+00:00",
    "profiles": [],
}
A_REPLAY_RUN: Json = {
    "id": "0d9f3f3c9e0b4d0a8a39b1a0a3f0c5d1",
    "state": "running",
    "reason": None,
    "asked_by": "call",
    "filters": {"kind": "send-metric"},
    "started_at": "2026-11-21T10:00:00+00:00",
    "finished_at": None,
    "total": 12,
    "replayed": 4,
    "unreadable": 0,
    "waiting": 1,
    "died_again": 0,
    "succeeded": 3,
}
_RUN: Json = {"$ref": "#/components/schemas/ReplayRun"}


def _operation(
    summary: str,
    status: int,
    answer: Answer,
    *parameters: Parameter,
    body: Body | None = None,
    errors: tuple[int, ...] = (),
) -> Operation:
    return Operation(
        summary,
        {status: answer},
        opened_by=("installationKey",),
        parameters=parameters,
        body=body,
        errors=(*EVERYWHERE, *errors),
    )


# Below /{tenant}/api/v1, by method and path.
OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/dead-jobs"): _operation(
        "A page of the dead jobs that the filters mean",
        200,
        Answer(
            "The page, in the order of ids. Without filters, those that a cause holds are one row for each cause, on the first page.",
            an_object(
                {
                    "dead_jobs": a_list({"$ref": "#/components/schemas/DeadJob"}),
                    "next": or_null(TEXT),
                    "count": COUNT,
                },
                {"held": a_list({"$ref": "#/components/schemas/HeldCause"})},
            ),
            {"dead_jobs": [A_DEAD_JOB], "next": None, "count": 1, "held": []},
        ),
        *(Parameter(name, _SAYS[name], {**_WORDS.get(name, TEXT)}) for name in FILTERS),
        Parameter("after", "What `next` was in the page before.", TEXT),
        Parameter("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": MOST}, example=50),
    ),
    ("GET", "/dead-jobs/{id}"): _operation(
        "One dead job with its body",
        200,
        Answer("The job.", {"$ref": "#/components/schemas/DeadJob"}, A_DEAD_JOB),
        Parameter(
            "reveal",
            "Show personal values, which are masked otherwise. That is logged.",
            YES_OR_NO,
            example=False,
        ),
    ),
    ("POST", "/dead-jobs/{id}/replay"): _operation(
        "Queue the job again",
        202,
        Answer(
            "It is queued.",
            an_object({"status": {"const": "queued"}, "id": TEXT, "path": TEXT}),
            {
                "status": "queued",
                "id": "6f1c0f6d0f0f4a44a2f1b6a1d2f5c3aa",
                "path": "/acme/api/v1/dead-jobs/6f1c0f6d0f0f4a44a2f1b6a1d2f5c3aa",
            },
        ),
        errors=(409,),
    ),
    ("POST", "/dead-jobs/replay"): _operation(
        "Queue all dead jobs again that the filters mean, or all",
        202,
        Answer("The run has begun.", _RUN, A_REPLAY_RUN),
        body=Body(
            {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": FILTER_SCHEMAS,
                        "minProperties": 1,
                        "additionalProperties": False,
                    },
                    {
                        "type": "object",
                        "properties": {"all": {"const": True}},
                        "required": ["all"],
                        "additionalProperties": False,
                    },
                ]
            },
            {
                "filters": {"kind": "send-metric", "since": "2026-11-01T00:00:00Z"},
                "of a person": {"profile": "jane@example.org"},
                "all": {"all": True},
            },
        ),
        errors=(409, 415),
    ),
    ("GET", "/dead-jobs/replays/{id}"): _operation(
        "How a run of replays stands",
        200,
        Answer("The run.", _RUN, A_REPLAY_RUN),
    ),
}
