"""The grant of an install: its tokens and their account. Nothing is called here, because an install's first page needs no client."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

LONGEST_LIFE = 10 * 365 * 24 * 3600  # longer than any token is valid, but small enough to add to a date


class TokenAnswer(BaseModel):
    """The answer of the token endpoint. The refresh token may be a new one, so the caller always stores it."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    access_token: SecretStr = Field(min_length=1)
    refresh_token: SecretStr = Field(min_length=1)
    expires_in: int = Field(gt=0, le=LONGEST_LIFE, description="seconds")
    scope: str = ""


class Account(BaseModel):
    """A Klaviyo account. `timezone` is an IANA name, `country` as the merchant wrote it."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    id: str = Field(min_length=1)
    name: str = ""
    timezone: str = ""
    country: str = ""

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> "Account":
        """Read an account resource."""
        attributes = row.get("attributes") or {}
        contact = attributes.get("contact_information") or {}
        return cls(
            id=row["id"],
            name=contact.get("organization_name") or "",
            timezone=attributes.get("timezone") or "",
            country=(contact.get("street_address") or {}).get("country") or "",
        )
