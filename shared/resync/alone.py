"""Profiles that a run over the whole base leaves to a sync of their own, as after a webhook."""

from collections.abc import Iterable

from shared.profiles.calls import sync_soon
from shared.resync.rules.run import Options, Undated
from shared.services import Services
from shared.tenants.tenants import Tenant


def sync_alone(profile_ids: Iterable[str], options: Options, tenant: Tenant, services: Services) -> None:
    """Queue a single sync of each profile. An opt-in without a date, which a run reports as not sent, is not sent by
    that sync either.

    Raises:
        QueueUnavailableError: not all of them are queued; a repeat is harmless.
    """
    leaves_undated = options.undated is Undated.LEAVE
    for id in profile_ids:
        sync_soon(tenant, id, queue=services.queue, clock=services.clock, leaves_undated=leaves_undated)
