"""Omneo interactions: each of Klaviyo's consent events adds one to the profile, beside the consent itself."""

from typing import TYPE_CHECKING

from shared.consent.rules.decisions import canonical, row_of
from shared.consent_events import SystemEvent
from shared.jobs.jobs import AddInteraction
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.omneo.client import OmneoClient


def add_refused_interaction(job: AddInteraction, tenant: Tenant, omneo: "OmneoClient") -> None:
    """Try once more to add an interaction that Omneo refused. Raises as Omneo's client does."""
    add_interaction(job.event, job.signal, job.omneo_profile_id, tenant, omneo)


def add_interaction(
    event: SystemEvent, signal: int, omneo_profile_id: str, tenant: Tenant, omneo: "OmneoClient"
) -> None:
    """Add the interaction of an event. Omneo has no key for interactions, so the interaction carries the event's id, by
    which a person can recognise a copy.

    Raises:
        ServiceError: Omneo refused or did not answer.
    """
    from shared.omneo.client import Interaction

    topic = canonical(event.topic)
    interaction = Interaction(
        profile_id=omneo_profile_id,
        name=topic,
        description=f"Klaviyo: {topic.replace('_', ' ')}",
        channel=row_of(topic).channel.value,
        signal=signal,
        at=event.at,
        meta={"event_id": event.id, "topic": event.topic, "klaviyo_profile_id": event.profile},
    )
    omneo.create_interaction(interaction, tenant.settings.namespace)
