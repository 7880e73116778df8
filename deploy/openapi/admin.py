"""The calls of CX Manager: a row for each row of `shared/admin/routes.py`, without which openapi.json cannot be written."""

from collections.abc import Mapping

from deploy.openapi import desk
from deploy.openapi.examples import (
    A_JOB,
    A_RECEIPT,
    A_RUN,
    A_STATUS,
    A_TRAFFIC,
    AN_EXPLANATION,
    SETTINGS_SHOWN,
)
from deploy.openapi.operations import (
    A_QUEUED_CALL,
    ANY_OBJECT,
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
)
from deploy.openapi.schemas import inlined
from shared.resync.orders import Order


def _run_order() -> Json:
    """Return the schema of a body that begins a run."""
    schema = Order.model_json_schema()
    return inlined(schema)


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
        description="`id` is the Omneo profile's: an email address must not stand in a URL. Work of theirs that was accepted before is dropped when the queue"
        " delivers it. What is accepted later, as a new sign-up is, is done. Klaviyo is asked before anything is removed here; 409 says what is in the way, and"
        " then nothing is removed.",
    ),
    ("POST", "/resync"): _begin("Send the whole base to Klaviyo"),
    ("POST", "/reconcile"): _begin("Tell where consent differs. Nothing is sent"),
    ("POST", "/repair"): _begin("Mend consent where it differs"),
    ("GET", "/resync/{id}"): _run("How a run stands", errors=()),
    ("POST", "/resync/{id}/pause"): _run("Pause the run"),
    ("POST", "/resync/{id}/resume"): _run("Let the run go on, also one that has failed"),
    ("POST", "/resync/{id}/cancel"): _run("End the run"),
}
