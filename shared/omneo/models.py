"""The things that Omneo's API returns and takes, as models. envelopes.py reads them from answers, client.py makes the calls."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr


def _plain_id(id: object) -> object:
    """Return 41 for "41": Omneo's numbers sometimes come as text, and one reward must have one id."""
    return int(id) if isinstance(id, str) and id.isascii() and id.isdigit() else id


class IdToken(BaseModel):
    """An Omneo ID token, and its expiry in Unix seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, defer_build=True)

    token: SecretStr = Field(min_length=1)
    exp: int | float


class Profile(BaseModel):
    """The fields of an Omneo profile that the extension uses."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    id: str
    email: str | None = Field(default=None, repr=False)
    attributes: Any = Field(default=None, repr=False)
    profile_type: Any = None
    mobile_phone: Any = Field(default=None, repr=False)
    mobile_phone_e164: Any = Field(default=None, repr=False)
    mobile_phone_country: Any = None
    identities: Any = Field(default=None, repr=False)

    @property
    def lives(self) -> bool:
        """Whether the profile is not deleted. Omneo hides deleted profiles, or marks them."""
        return bool(self.profile_type != "deleted")

    @property
    def comms(self) -> Mapping[str, Any]:
        """The consent flags and stamps, as Omneo holds them."""
        comms = self.attributes.get("comms") if isinstance(self.attributes, dict) else None
        return comms if isinstance(comms, dict) else {}


@dataclass(frozen=True)
class ProfilesPage:
    """A page of profiles with all their fields, and the numbers of pages and profiles."""

    rows: tuple[Mapping[str, Any], ...]
    pages: int
    total: int


@dataclass(frozen=True)
class Interaction:
    """An act of a profile in another system. `signal` is 1, 0 or -1, `channel` is email or sms, and `at` is aware."""

    profile_id: str
    name: str
    description: str
    channel: str
    signal: int
    at: datetime
    meta: Mapping[str, str]


class Reward(BaseModel):
    """The fields of a reward that the extension uses. Omneo does not show `external_id`, but it is read if it ever comes."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    id: Annotated[int | str, BeforeValidator(_plain_id)]
    external_id: Any = None
    meta: Any = None


class RewardDefinition(BaseModel):
    """The validity and the currency of a definition's rewards, as Omneo writes them. The rules interpret them."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    id: Any = None
    handle: Any = None
    period: Any = None
    period_type: Any = None
    absolute_expiry: Any = None
    currency: Any = None


class OmneoWebhook(BaseModel):
    """A webhook as Omneo lists it."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    id: int
    trigger: str
    url: str
    is_active: bool = False
