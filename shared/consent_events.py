"""The words for consent, and one of Klaviyo's consent events as it travels through the extension.

`consent/rules/decisions.py` says what an event means.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

Direction: TypeAlias = Literal["in", "out"]  # of a consent decision: given, or taken back
Bounce: TypeAlias = Literal["hard", "soft", ""]


class Channel(StrEnum):
    """The two channels whose consent travels."""

    EMAIL = "email"
    SMS = "sms"


class Consent(StrEnum):
    """A kind of message for which Klaviyo holds a consent."""

    EMAIL = "email"
    SMS = "sms"
    SMS_TRANSACTIONAL = "sms_transactional"

    @property
    def channel(self) -> Channel:
        """The channel of its messages."""
        return Channel.EMAIL if self is Consent.EMAIL else Channel.SMS


class Decision(StrEnum):
    """The effect of an event. It is stored with the event, so values never change."""

    OPT_IN = "opt-in"
    OPT_OUT = "opt-out"
    BOUNCED = "bounced"
    NONE = "none"


def _whole_second(moment: datetime) -> datetime:
    # Omneo's stamps hold whole seconds: a finer time would order two events that have the same stamp.
    try:
        return moment.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        raise ValueError("it lies outside of all years") from None


class SystemEvent(BaseModel):
    """A consent event.

    `topic` is Klaviyo's without `event:klaviyo.`, `profile` the Klaviyo profile id, `at` the event's own time, kept in UTC and to the
    second. `bounce` is what the event says of the bounce, `method` whether its `custom_method_detail` is our mark, both "" if it says
    nothing.
    """

    # Built when it is first used: a function that only queues metrics should not build it at its start.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    id: str = Field(min_length=1)
    topic: str = Field(min_length=1)
    profile: str = Field(min_length=1)
    at: Annotated[AwareDatetime, AfterValidator(_whole_second)]
    bounce: Bounce = ""
    method: Literal["omneo", "other", ""] = ""
