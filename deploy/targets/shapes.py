"""The request of each platform as its public page documents it. The pages stand in each platform's `platform.toml`.

If a page leaves a limit open, none is checked here.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)]
Name = Annotated[str, StringConstraints(min_length=1)]
Digits = Annotated[str, StringConstraints(pattern=r"^[0-9]{6,15}$")]


class _Request(BaseModel):
    """A request that has only documented fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _Metric(_Request):
    type: Literal["metric"]
    attributes: dict[Literal["name"], Annotated[str, StringConstraints(min_length=1, max_length=127)]]


class _KlaviyoProfile(_Request):
    email: Email
    external_id: str


class _Profile(_Request):
    type: Literal["profile"]
    attributes: _KlaviyoProfile


class _KlaviyoAttributes(_Request):
    metric: dict[Literal["data"], _Metric]
    profile: dict[Literal["data"], _Profile]
    unique_id: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    properties: dict[str, Any] = Field(max_length=400)
    time: str | None = None
    value: float | int | None = None


class _KlaviyoEvent(_Request):
    type: Literal["event"]
    attributes: _KlaviyoAttributes


class Klaviyo(_Request):
    """Klaviyo's Create Event."""

    data: _KlaviyoEvent


class _SalesforceRecipient(_Request):
    contactKey: Name  # noqa: N815 - the service's own word
    to: Email
    messageKey: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None  # noqa: N815
    attributes: dict[str, Any]


class Salesforce(_Request):
    """Marketing Cloud's "send a message to multiple recipients"."""

    definitionKey: Name  # noqa: N815
    recipients: list[_SalesforceRecipient] = Field(min_length=1, max_length=500)


class _BrazeEvent(_Request):
    external_id: Name
    name: Name
    time: str
    properties: dict[str, Any]


class Braze(_Request):
    """Braze's /users/track."""

    events: list[_BrazeEvent] = Field(min_length=1, max_length=75)


class _DotdigitalValue(_Request):
    name: Name
    value: str


class Dotdigital(_Request):
    """Dotdigital's transactional email by a triggered campaign."""

    toAddresses: list[Email] = Field(min_length=1, max_length=1)  # noqa: N815
    campaignId: int  # noqa: N815
    personalizationValues: list[_DotdigitalValue]  # noqa: N815


class Yotpo(_Request):
    """SMSBump's send, as it was last public."""

    to: Digits
    type: Literal["sms"]
    message: Annotated[str, StringConstraints(min_length=1, max_length=3200)]


class CampaignMonitor(_Request):
    """Campaign Monitor's smart email."""

    To: list[Email] = Field(min_length=1, max_length=25)
    Data: dict[str, Any]
    AddRecipientsToList: bool
    ConsentToTrack: Literal["Yes", "No", "Unchanged"]


class _CustomProfile(_Request):
    id: str
    email: str
    first_name: str


class Custom(_Request):
    """Your own service: as the templates of the catalogue write it."""

    notification: Name
    key: Name
    sent_at: str
    profile: _CustomProfile
    data: dict[str, Any]


SHAPES: Mapping[str, type[BaseModel]] = {
    "braze": Braze,
    "campaign-monitor": CampaignMonitor,
    "custom": Custom,
    "dotdigital": Dotdigital,
    "klaviyo": Klaviyo,
    "salesforce-marketing-cloud": Salesforce,
    "yotpo-smsbump": Yotpo,
}


def misfits(platform: str, body: object) -> list[str]:
    """Return the paths in a body that the platform would refuse; never a value."""
    try:
        SHAPES[platform].model_validate(body)
    except ValidationError as error:
        return [
            f"{'.'.join(map(str, row['loc'])) or 'the body'}: {row['msg']}"
            for row in error.errors(include_input=False)
        ]
    return _times(body)


def _times(body: object, path: str = "") -> list[str]:
    """Return the times that are none, by their path."""
    if isinstance(body, dict):
        return [said for name, item in body.items() for said in _times(item, f"{path}.{name}".strip("."))]
    if isinstance(body, list):
        return [said for place, item in enumerate(body) for said in _times(item, f"{path}.{place}")]
    if isinstance(body, str) and path.rpartition(".")[2] in ("time", "expires_at", "sent_at"):
        try:
            datetime.fromisoformat(body)
        except ValueError:
            return [f"{path}: this is no time as ISO 8601 writes it"]
    return []
