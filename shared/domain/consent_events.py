"""The words in which consent is spoken of, and a consent event of Klaviyo's as it travels through the extension.

What an event means for consent is not decided here.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

Channel: TypeAlias = Literal["email", "sms"]
Direction: TypeAlias = Literal["in", "out"]  # of a consent: given, or taken back
Bounce: TypeAlias = Literal["hard", "soft", ""]
Decision: TypeAlias = Literal["opt-in", "opt-out", "bounced", "none", "echo", "unknown-profile", ""]


def _whole_second(moment: datetime) -> datetime:
    # Omneo's stamps hold whole seconds: what is finer would order two events that no stamp can tell apart.
    try:
        return moment.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        raise ValueError("it lies outside of all years") from None


class SystemEvent(BaseModel):
    """One event of a system webhook, cut down to what deciding on consent needs.

    `id` is Klaviyo's event id, `topic` the topic without `event:klaviyo.`, `profile` the Klaviyo profile id, `at` the event's own
    time (kept in UTC, to the second), `bounce` how an email bounced, "" if the event does not say, `method` its
    `custom_method_detail`, "" if it has none.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(min_length=1)
    topic: str = Field(min_length=1)
    profile: str = Field(min_length=1)
    at: Annotated[AwareDatetime, AfterValidator(_whole_second)]
    bounce: Bounce = ""
    method: str = ""
