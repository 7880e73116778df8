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
    """An Omneo ID token, and when it expires (Unix seconds, as Omneo says it)."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    token: SecretStr = Field(min_length=1)
    exp: int | float


class Profile(BaseModel):
    """The part of an Omneo profile that is needed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

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
        """Whether it is not deleted: Omneo hides deleted profiles, or shows them as such."""
        return bool(self.profile_type != "deleted")

    @property
    def comms(self) -> Mapping[str, Any]:
        """The consent flags and stamps, as Omneo holds them."""
        comms = self.attributes.get("comms") if isinstance(self.attributes, dict) else None
        return comms if isinstance(comms, dict) else {}


@dataclass(frozen=True)
class ProfilesPage:
    """A page of profiles, whole as Omneo shows them; how many pages and profiles there are."""

    rows: tuple[Mapping[str, Any], ...]
    pages: int
    total: int


@dataclass(frozen=True)
class Interaction:
    """Something a profile did elsewhere. `signal` is 1, 0 or -1, `channel` email or sms, `at` aware."""

    profile_id: str
    name: str
    description: str
    channel: str
    signal: int
    at: datetime
    meta: Mapping[str, str]


class Reward(BaseModel):
    """The part of a reward that is needed. Omneo does not show `external_id`; should it ever, it is read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Annotated[int | str, BeforeValidator(_plain_id)]
    external_id: Any = None
    meta: Any = None


class RewardDefinition(BaseModel):
    """The life and the currency of a definition's rewards, as Omneo writes them. The rules interpret them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Any = None
    handle: Any = None
    period: Any = None
    period_type: Any = None
    absolute_expiry: Any = None
    currency: Any = None


class OmneoWebhook(BaseModel):
    """A webhook as Omneo lists it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: int
    trigger: str
    url: str
    is_active: bool = False
