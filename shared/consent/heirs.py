"""Opt-outs from an email address that has moved to another person while Klaviyo still had it on the first person's profile. Nothing shows
whose opt-out it was, so both persons are opted out.

former_identities.py knows both persons; the room `profiles` does the job, as for every opt-out that is pulled.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from shared.consent.former_identities import FormerIdentities
from shared.consent.rules.decisions import Decided
from shared.consent_events import Channel
from shared.jobs.jobs import PullOptOut
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.services import Services


def tell_heirs(
    outs: Iterable[Decided],
    klaviyo_id: str,
    tenant: Tenant,
    services: "Services",
    *,
    profile_id: str = "",
    traceparent: str = "",
) -> None:
    """Apply email opt-outs of a Klaviyo profile also to the present owner of an address that it had then; but not to `profile_id`, which
    gets them anyway.

    Raises:
        QueueUnavailableError: not all were queued.
    """
    told = list(outs)
    for heir in FormerIdentities.of(services).heirs_of(tenant.name, klaviyo_id) if told else ():
        theirs = [one.at for one in told if heir.may_have_decided(one.at, one.address)]
        if theirs and heir.profile_id.casefold() != profile_id.casefold():
            tell_heir(heir.profile_id, max(theirs), tenant, services, traceparent=traceparent)


def tell_heir(
    profile_id: str, at: datetime, tenant: Tenant, services: "Services", *, traceparent: str = ""
) -> None:
    """Queue an email opt-out of that time for the Omneo profile. Raises QueueUnavailableError: nothing was queued."""
    job = PullOptOut(
        tenant=tenant.name,
        id=services.new_id(),
        accepted_at=services.clock(),
        profile_id=profile_id,
        channel=Channel.EMAIL,
        at=at,
        is_anothers=True,
        traceparent=traceparent,
    )
    services.queue.put(job, tenant)
