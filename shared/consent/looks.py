"""Looks: the jobs that compare both sides of a consent some time after our call. The room `profiles` does the look itself.

A look's name holds the profile and the window of its moment, so many requests for one window become one look.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from shared.consent.rules.memory import LANDING, Memory
from shared.consent.rules.results import look_at as undone_at
from shared.consent_events import Channel
from shared.jobs.jobs import CompareConsent
from shared.jobs.rules.windows import hashed
from shared.jobs.windows import once_a_window
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.services import Services


def look_at(
    tenant: Tenant,
    profile_id: str,
    moment: datetime,
    services: "Services",
    *,
    again: bool = False,
    traceparent: str = "",
) -> None:
    """Have both sides of the Omneo profile's consents compared at that moment. `again` is a look that no other follows.

    Raises:
        QueueUnavailableError: nothing was queued.
    """

    def look(now: datetime) -> CompareConsent:
        # One id for all looks at a profile: given up several times over, they are one dead job.
        id = hashed("look", tenant.name, profile_id)[:32]
        return CompareConsent(
            tenant=tenant.name,
            id=id,
            accepted_at=now,
            profile_ids=(profile_id,),
            again=again,
            traceparent=traceparent,
        )

    after = max(0.0, (moment - services.clock()).total_seconds())
    about = ("look again" if again else "look", tenant.name, profile_id)
    once_a_window(look, tenant, *about, queue=services.queue, clock=services.clock, after=after)


def look_after_a_call(
    tenant: Tenant, profile_id: str, services: "Services", *, traceparent: str = ""
) -> None:
    """Have both sides compared when a call that is made now must have landed. Raises as `look_at`."""
    look_at(tenant, profile_id, services.clock() + LANDING, services, traceparent=traceparent)


def look_where_undone(
    memories: Mapping[Channel, Memory],
    profile_id: str,
    tenant: Tenant,
    services: "Services",
    *,
    traceparent: str = "",
) -> None:
    """Queue a look if an opt-in may have reached Klaviyo after the customer opted out. Raises as `look_at`."""
    now = services.clock()
    moments = [at for memory in memories.values() if (at := undone_at(memory, now)) is not None]
    if moments and tenant.klaviyo is not None:
        look_at(tenant, profile_id, max(moments), services, traceparent=traceparent)
