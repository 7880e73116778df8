"""What an operator or CX Manager may set for a tenant, with its limits. The published JSON Schema is made from here.

Secrets are not among them: they are encrypted, and live beside the settings in the tenant.
"""

import re
import zoneinfo
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

# Part of the settings, but fixed once installed: queues carry them in their names, and a queue cannot be renamed.
FIXED_ONCE_INSTALLED = frozenset({"namespace", "task_queue_name"})


class Unset(StrEnum):
    """What a consent that Omneo has never recorded means for Klaviyo."""

    SUBSCRIBE = "subscribe"  # as Omneo's profile-sync page says: only false blocks
    LEAVE = "leave"


class OnProfileDeleted(StrEnum):
    """What becomes of the Klaviyo profile when the Omneo profile is deleted."""

    SUPPRESS = "suppress"
    ERASE = "erase"
    IGNORE = "ignore"


def _timezone(name: str) -> str:
    if name not in zoneinfo.available_timezones():
        raise ValueError("must be an IANA time zone, as in Australia/Melbourne")
    return name


def _region(code: str) -> str:
    if not re.fullmatch(r"[A-Z]{2}", code):
        raise ValueError("must be an ISO country code of two capital letters, as in AU")
    return code


QueueNamePart = Annotated[str, Field(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?$", max_length=40)]
KlaviyoId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class TenantSettings(BaseModel):
    """A tenant's settings. None means: not set; time zone and region are then the Klaviyo account's."""

    # A field that a newer revision wrote is kept by an older one. `admin` refuses unknown ones by itself.
    model_config = ConfigDict(frozen=True, extra="allow")

    namespace: QueueNamePart = Field(
        default="klaviyo",
        description="names our webhooks in Omneo, and part of the queues' names; fixed once installed",
    )
    task_queue_name: QueueNamePart = Field(description="part of the queues' names; fixed once installed")
    identity_handle: Annotated[str, Field(min_length=1, max_length=100)] = Field(
        default="klaviyo", description="Omneo identity that holds the Klaviyo profile id"
    )
    default_region: Annotated[str, AfterValidator(_region)] | None = Field(
        default=None, description="ISO country of phone numbers without a prefix"
    )
    timezone: Annotated[str, AfterValidator(_timezone)] | None = Field(
        default=None, description="IANA time zone of rewards"
    )
    master_list_id: KlaviyoId | None = Field(
        default=None, description="Klaviyo list that every email subscriber is on"
    )
    profile_exclude_logic: dict[str, JsonValue] | None = Field(
        default=None, description="JSON Logic; a profile it matches is never synced"
    )
    mappings: Annotated[dict[str, str], Field(max_length=200)] = Field(
        default={}, description="Omneo path to Klaviyo attribute or property"
    )
    email_consent_unset: Unset = Field(
        default=Unset.SUBSCRIBE, description="what an email consent that was never recorded means"
    )
    sms_consent_unset: Unset = Field(
        default=Unset.SUBSCRIBE, description="what an SMS consent that was never recorded means"
    )
    sms_transactional: bool = Field(default=False, description="subscribe to transactional SMS as well")
    on_profile_deleted: OnProfileDeleted = Field(
        default=OnProfileDeleted.SUPPRESS, description="what becomes of the Klaviyo profile"
    )
    reward_max_amount: Annotated[float, Field(gt=0, le=1_000_000)] | None = Field(
        default=None, description="a reward above it is refused"
    )
    reward_max_per_hour: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="rewards above it are refused, approximately"
    )
    dead_job_days: Annotated[int, Field(ge=1, le=365)] = Field(
        default=30, description="how long dead jobs are kept"
    )


def settings_schema(secret_length: int) -> dict[str, Any]:
    """Return the JSON Schema of what `PUT settings` takes. Nothing is required: what is absent stays as it is."""
    schema = TenantSettings.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Settings of a tenant of the Omneo Klaviyo extension"
    schema["additionalProperties"] = False
    schema.pop("required", None)
    schema["properties"] |= {
        "webhook_secret": {
            "type": "string",
            "minLength": secret_length,
            "writeOnly": True,
            "description": "what Klaviyo signs its webhooks with and flows send; the one before stays valid until ended",
        },
        "end_webhook_secrets": {
            "type": "array",
            "items": {"type": "string"},
            "writeOnly": True,
            "description": "ids of older webhook secrets that are no longer valid",
        },
    }
    return schema
