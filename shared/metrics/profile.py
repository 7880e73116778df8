"""Whose an event is that names only an Omneo profile: the Klaviyo profile that the sync of that profile will use, or has used.

Klaviyo would make a new profile of an Omneo id that it does not know, beside the one that has the person's email.
"""

from collections.abc import Mapping
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


def with_profile(
    job: "SendMetric", *, handle: str, klaviyo: "KlaviyoClient", omneo: "OmneoClient"
) -> Mapping[str, Any]:
    """Return the event, about the Klaviyo profile that is meant. `handle` is that of the identity which holds Klaviyo's id.

    Raises:
        WaitError: Omneo does not show the profile yet.
        CannotSucceedError: Omneo has no such profile.
        ServiceError: what Klaviyo or Omneo answered.
    """
    event, omneo_id = job.event, job.omneo_profile_id
    if not omneo_id or klaviyo_profile_id(event) or email_of(event):
        return event
    profile = omneo.profile_fields(omneo_id)
    if profile is None or profile.get("profile_type") == "deleted":
        if job.attempts == 0:
            raise WaitError("Omneo does not show the profile", service="Omneo", retry_after=_OMNEO_LAGS)
        raise CannotSucceedError(
            "The event names an Omneo profile that there is not, so Klaviyo does not know whose it is. "
            "Replay this job if the profile was restored."
        )
    if stored := identity_in(profile.get("identities"), handle):
        return _about(event, id=str(stored))
    if found := klaviyo.find_profile("external_id", omneo_id):
        return _about(event, id=found.id)
    email = read_email(profile.get("email"))
    if email is None:
        return event
    found = klaviyo.find_profile("email", email)
    if found is None:
        return _about(event, email=email)
    # That of another living profile is not hers: she gets one of her own, which her sync finds by the Omneo id.
    return event if other_holder(found, omneo_id, handle=handle, omneo=omneo) else _about(event, id=found.id)


def _about(event: Mapping[str, Any], *, id: str = "", email: str = "") -> Json:
    data = event["profile"]["data"]
    attributes = {name: value for name, value in data["attributes"].items() if name != "external_id"}
    known = {"id": id} if id else {}
    named = {"email": email} if email else {}
    return {**event, "profile": {"data": {**data, **known, "attributes": {**attributes, **named}}}}
