"""The settings of a tenant that an operator or CX Manager may change, with their limits. The published JSON Schema is made from here.

Secrets are not among them: the tenant holds them, encrypted, beside the settings.
"""

import json
import zoneinfo
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationInfo

from shared.storage.documents import Value, check_fields
from shared.values.attribute_names import refused_names
from shared.values.phones import regions
from shared.values.zones import zones

# Part of the settings, but fixed once installed: queues carry them in their names, and a queue cannot be renamed.
FIXED_ONCE_INSTALLED = frozenset({"namespace", "task_queue_name"})
LONGEST_SECRET = 1000  # a header has to hold it
LONGEST_LOGIC = 20_000
LONGEST_NAME = 200
LEAST_AMOUNT = 0.001  # the smallest unit of any currency: below, no reward would be allowed


class Unset(StrEnum):
    """The meaning for Klaviyo of a consent that Omneo has never recorded."""

    SUBSCRIBE = "subscribe"  # as Omneo's profile-sync page says: only false blocks
    LEAVE = "leave"


class OnProfileDeleted(StrEnum):
    """The fate of the Klaviyo profile when the Omneo profile is deleted."""

    SUPPRESS = "suppress"
    ERASE = "erase"
    IGNORE = "ignore"


@cache  # it reads a folder of files, and almost every call reads a tenant
def _timezones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _timezone(name: str) -> str:
    # A change also checks that the zone is a place's. A value of an earlier revision can still be read.
    if name not in _timezones():
        raise ValueError("must be an IANA time zone, as in Australia/Melbourne")
    return name


def _logic(logic: dict[str, JsonValue], info: ValidationInfo) -> dict[str, JsonValue]:
    # Only a change checks this: a value of a newer revision, with an operator that is unknown here, can still be read.
    if "profile_exclude_logic" in (info.context or ()):
        from shared.json_logic.check import check_logic

        if fault := check_logic(logic):
            raise ValueError(fault)
    if len(json.dumps(logic)) > LONGEST_LOGIC or any(len(name) > LONGEST_NAME for name in _names(logic)):
        raise ValueError(f"must have at most {LONGEST_LOGIC} characters, and {LONGEST_NAME} in a name")
    check_fields({"settings": {"profile_exclude_logic": cast(Value, logic)}})  # JSON, by another name
    return logic


def _names(value: JsonValue) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _names(inner)


def _one_operator() -> dict[str, JsonValue]:
    from shared.json_logic.check import ARITY

    return {"maxProperties": 1, "propertyNames": {"enum": [*sorted(ARITY)]}}


def _mappings(mappings: dict[str, str]) -> dict[str, str]:
    check_fields({"settings": {"mappings": {**mappings}}})
    return mappings


def _whole(number: object) -> object:
    """Return 7.0 as 7: to JSON they are one number."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


Region = Annotated[str, Field(pattern="^[A-Z]{2}$")]
Timezone = Annotated[str, AfterValidator(_timezone)]
Logic = Annotated[dict[str, JsonValue], AfterValidator(_logic)]
MappedName = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
QueueNamePart = Annotated[str, Field(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?$", max_length=40)]
NotifyUrl = Annotated[
    str, Field(pattern=r"^https://[A-Za-z0-9.\-]+(:[0-9]{1,5})?(/[!$-~]*)?$", max_length=500)
]
KlaviyoId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


# The store keeps names of the form __x__ to itself.
_MAPPED: dict[str, JsonValue] = {
    "minLength": 1,
    "maxLength": LONGEST_NAME,
    "not": {"pattern": r"^(?:__[\s\S]*__|\s*)$"},
}
_MAPPED_TO: dict[str, JsonValue] = {
    "type": "string",
    "minLength": 1,
    "maxLength": LONGEST_NAME,
    "not": {"pattern": refused_names()},
}


# Characters that would change a path, or end it. Other characters that cannot be printed are refused too.
_HANDLE = r"^(?!\.*$)(?! )(?!.* $)[^/\\?#%\x00-\x1f\x7f]*$"


class TenantSettings(BaseModel):
    """A tenant's settings. None means: not set; time zone and region are then the Klaviyo account's.

    A change is validated with the names of the settings that it changes as the context.
    """

    # An older revision keeps the fields of a newer one. `admin` itself refuses unknown settings.
    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)

    namespace: QueueNamePart = Field(
        default="klaviyo",
        description="Names our webhooks in Omneo, and is part of the queues' names. Fixed once installed.",
        examples=["klaviyo-stg"],
    )
    task_queue_name: QueueNamePart = Field(
        description="Part of the queues' names. The tenant's name, unless it is set. Fixed once installed.",
        examples=["acme"],
    )
    identity_handle: Annotated[str, Field(min_length=1, max_length=100)] = Field(
        default="klaviyo",
        description="The Omneo identity that holds the Klaviyo profile id.",
        examples=["klaviyo"],
        json_schema_extra={"pattern": _HANDLE},
    )
    default_region: Region | None = Field(
        default=None,
        description="ISO country of phone numbers without a prefix. Unset: the country of the Klaviyo account.",
        examples=["AU"],
    )
    timezone: Timezone | None = Field(
        default=None,
        description="IANA time zone, of a place or UTC, of rewards whose call names none. Unset: the zone of the Klaviyo account, else UTC.",
        examples=["Australia/Melbourne"],
    )
    master_list_id: KlaviyoId | None = Field(
        default=None,
        description="The Klaviyo list that every email subscriber is put on. Unset: no list.",
        examples=["Y6nRLr"],
    )
    profile_exclude_logic: Logic | None = Field(
        default=None,
        description=f"JSON Logic. A profile that it matches is never synced. At most {LONGEST_LOGIC:,} characters and some 18 levels. It takes the operators of JSON Logic except `log`, and `not_in`.",
        examples=[{"==": [{"var": "tier.handle"}, "staff"]}],
        json_schema_extra=lambda schema: schema.update(_one_operator()),
    )
    mappings: Annotated[dict[MappedName, MappedName], Field(max_length=200), AfterValidator(_mappings)] = (
        Field(
            default={},
            description="More values for Klaviyo: each Omneo path with the Klaviyo attribute or property that it fills.",
            examples=[{"company": "organization"}],
            json_schema_extra={"propertyNames": _MAPPED, "additionalProperties": _MAPPED_TO},
        )
    )
    email_consent_unset: Unset = Field(
        default=Unset.SUBSCRIBE,
        description="What it means that Omneo never recorded an email consent: an opt-in without a date, or no decision.",
        examples=["leave"],
    )
    sms_consent_unset: Unset = Field(
        default=Unset.SUBSCRIBE,
        description="What it means that Omneo never recorded an SMS consent: an opt-in without a date, or no decision.",
        examples=["leave"],
    )
    sms_transactional: bool = Field(
        default=False,
        description="Whether to subscribe to transactional SMS as well, together with SMS marketing.",
        examples=[True],
    )
    on_profile_deleted: OnProfileDeleted = Field(
        default=OnProfileDeleted.SUPPRESS,
        description="What happens to the Klaviyo profile when the Omneo profile is deleted.",
        examples=["erase"],
    )
    reward_max_amount: Annotated[float, Field(gt=0, le=1_000_000)] | None = Field(
        default=None,
        description="The largest amount of one reward from a Flow. A larger amount gets 400. Unset: 1,000,000.",
        examples=[50],
    )
    reward_max_per_hour: Annotated[int, Field(ge=1, le=1_000_000), BeforeValidator(_whole)] | None = Field(
        default=None,
        description="The most rewards from Flows in one hour (UTC). The next one gets 429 until the hour ends. Unset: no limit.",
        examples=[500],
    )
    dead_job_days: Annotated[int, Field(ge=1, le=365), BeforeValidator(_whole)] = Field(
        default=30, description="How many days a dead job is kept.", examples=[60]
    )
    notify_url: NotifyUrl | None = Field(
        default=None,
        description="An https address of yours that is told what an operator should know, signed. Make a secret first: `POST notify-secret`. Unset: nobody is told.",
        examples=["https://example.com/hooks/klaviyo"],
    )
    receipt_days: Annotated[int, Field(ge=0, le=365), BeforeValidator(_whole)] = Field(
        default=0,
        description="How many days it is kept what became of each job, for `GET jobs/{id}`. 0: only of jobs that wait or are dead.",
        examples=[7],
    )


def settings_schema(secret_length: int) -> dict[str, Any]:
    """Return the JSON Schema of what `PUT settings` takes. Nothing is required: what is absent stays as it is.

    The schema leaves out three things: rules that depend on the tenant (such as the ids of its secrets and lists), how deep a value may be
    nested, and that two mappings may not fill one name.
    """
    schema = TenantSettings.model_json_schema()
    schema["properties"] = {name: _or_null(rule) for name, rule in schema["properties"].items()}
    schema["properties"]["timezone"]["anyOf"][0]["enum"] = sorted(zones())
    schema["properties"]["default_region"]["anyOf"][0]["enum"] = sorted(regions())
    schema["properties"]["reward_max_amount"]["anyOf"][0] = {
        "type": "number",
        "minimum": LEAST_AMOUNT,
        "maximum": 1_000_000,
    }
    schema["description"] = "What is absent stays as it is; null brings the default back."
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Settings of a tenant of the Omneo Klaviyo extension"
    schema["additionalProperties"] = False
    schema.pop("required", None)
    schema["properties"] |= {
        "webhook_secret": {
            "type": "string",
            "minLength": secret_length,
            "maxLength": LONGEST_SECRET,
            "pattern": "^[!-~]*$",
            "writeOnly": True,
            "description": "Klaviyo signs its system webhook with it, and Flows send it. Made with the tenant. The one before stays valid until it is ended.",
            "examples": ["at-least-16-characters"],
        },
        "end_webhook_secrets": {
            "type": "array",
            "items": {"type": "string"},
            "writeOnly": True,
            "description": "The ids of older webhook secrets that end now. `GET settings` shows the ids.",
            "examples": [["3f9a1c20"]],
        },
        **_only_shown(),
    }
    return schema


def _only_shown() -> dict[str, Any]:
    """Return the schemas of what `GET settings` shows beside the settings. It may be sent back as it was read."""
    secret = {
        "type": "object",
        "required": ["id", "created_at"],
        "properties": {
            "id": {"type": "string"},
            "created_at": {"type": "string"},
            "last_used_at": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "additionalProperties": False,
    }
    account = {
        "type": "object",
        "required": ["timezone", "country"],
        "properties": {"timezone": {"type": "string"}, "country": {"type": "string"}},
        "additionalProperties": False,
    }
    shown = {"id": "3f9a1c20", "created_at": "2026-11-21T10:00:00+00:00", "last_used_at": None}
    words: dict[str, dict[str, Any]] = {
        "webhook_secrets": {
            "type": "array",
            "items": secret,
            "description": "The webhook secrets that are valid, newest first, and when each was last used.",
            "examples": [[shown]],
        },
        "omneo_signing_secrets": {
            "type": "array",
            "items": secret,
            "description": "The same of the secrets that Omneo signs with.",
            "examples": [[shown]],
        },
        "omneo_token": {
            "type": "string",
            "enum": ["set"],
            "description": "Whether the token of Omneo's API is set.",
            "examples": ["set"],
        },
        "account": {
            **account,
            "description": "What the Klaviyo account says, which stands in for settings that are not set.",
            "examples": [{"timezone": "Australia/Melbourne", "country": "Australia"}],
        },
    }
    return {name: {**rule, "readOnly": True} for name, rule in words.items()}


def _or_null(rule: Mapping[str, Any]) -> dict[str, Any]:
    if {"type": "null"} in rule.get("anyOf", ()):
        return {**rule}
    about = {name: rule[name] for name in ("title", "description", "default", "examples") if name in rule}
    limits = {name: value for name, value in rule.items() if name not in about}
    return {**about, "anyOf": [limits, {"type": "null"}]}
