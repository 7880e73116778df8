"""The profile of an event that names only an Omneo profile: the Klaviyo profile that the sync of the Omneo profile uses.

From an unknown Omneo id, Klaviyo would make a new profile beside the profile with the person's email.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.errors import CannotSucceedError, WaitError
from shared.matching import identity_in, other_holder
from shared.metrics.rules.event import email_of, klaviyo_profile_id
from shared.values.emails import read_email

if TYPE_CHECKING:
    from shared.jobs.jobs import SendMetric
    from shared.klaviyo.client import KlaviyoClient
    from shared.omneo.client import OmneoClient

_OMNEO_LAGS = 10.0

Json = dict[str, Any]


@dataclass(frozen=True)
class About:
    """An event with its profile. `by_identity` says whether Omneo holds the id of that profile as an identity."""

    event: Mapping[str, Any]
    by_identity: bool = False


def with_profile(
    job: "SendMetric", *, handle: str, klaviyo: "KlaviyoClient", omneo: "OmneoClient"
) -> Iterator[About]:
    """Yield the event with its Klaviyo profile, and then with the next profile that matches, in case Klaviyo does not know the first.

    `handle` is the handle of the identity with Klaviyo's id.

    Raises:
        WaitError: Omneo does not show the profile yet.
        CannotSucceedError: Omneo has no such profile.
        ServiceError: Klaviyo or Omneo refused or did not answer.
    """
    event, omneo_id = job.event, job.omneo_profile_id
    if not omneo_id or klaviyo_profile_id(event) or email_of(event):
        yield About(event)
        return
    profile = omneo.profile_fields(omneo_id)
    if profile is None or profile.get("profile_type") == "deleted":
        if job.attempts == 0:
            raise WaitError("Omneo does not show the profile", service="Omneo", retry_after=_OMNEO_LAGS)
        raise CannotSucceedError(
            "The event names an Omneo profile that does not exist, so Klaviyo cannot know its person. "
            "Replay this job if the profile was restored."
        )
    if stored := identity_in(profile.get("identities"), handle):
        yield About(_about(event, id=str(stored)), by_identity=True)
    yield About(_matched(event, omneo_id, profile, handle=handle, klaviyo=klaviyo, omneo=omneo))


def _matched(
    event: Mapping[str, Any],
    omneo_id: str,
    profile: Mapping[str, Any],
    *,
    handle: str,
    klaviyo: "KlaviyoClient",
    omneo: "OmneoClient",
) -> Mapping[str, Any]:
    """Return the event with the Klaviyo profile that matches without a stored identity."""
    if found := klaviyo.find_profile("external_id", omneo_id):
        return _about(event, id=found.id)
    email = read_email(profile.get("email"))
    if email is None:
        return event
    found = klaviyo.find_profile("email", email)
    if found is None:
        return _about(event, email=email)
    # A profile of another living person is not used: this person gets a new one, which the sync finds by the Omneo id.
    return event if other_holder(found, omneo_id, handle=handle, omneo=omneo) else _about(event, id=found.id)


def _about(event: Mapping[str, Any], *, id: str = "", email: str = "") -> Json:
    data = event["profile"]["data"]
    attributes = {name: value for name, value in data["attributes"].items() if name != "external_id"}
    known = {"id": id} if id else {}
    named = {"email": email} if email else {}
    return {**event, "profile": {"data": {**data, **known, "attributes": {**attributes, **named}}}}
