"""The end of a run over the whole base: whom Omneo has changed or deleted since it began.

A run goes by profiles as they were read: an import that carried an older state may have been the last, or may have made a deleted one again.
"""

from datetime import timedelta

from shared.handlers.profile_calls import sync_soon
from shared.jobs import DeleteProfile
from shared.resyncs import Run
from shared.services import Services
from shared.tenants import Tenant

PAGES_A_JOB = 10
# Omneo's clock and ours may differ.
BEFORE = timedelta(minutes=2)


def see_to_the_tail(run: Run, tenant: Tenant, services: Services) -> int | None:
    """Have some pages of them synced; return the page that follows, None if that was all.

    Raises:
        ServiceError, OwnServiceError: not now; all of it may be done again.
    """
    omneo = services.omneo(tenant)
    for number in range(run.tail_page, run.tail_page + PAGES_A_JOB):
        page = omneo.profiles_page(number, since=run.started_at - BEFORE)
        for row in page.rows:
            sync_soon(tenant, str(row["id"]), queue=services.queue, clock=services.clock)
        if number >= page.pages:
            _bury_again(run, tenant, services)
            return None
    return run.tail_page + PAGES_A_JOB


def _bury_again(run: Run, tenant: Tenant, services: Services) -> None:
    for profile_id, at in services.synced_profiles.buried_since(tenant.name, run.started_at - BEFORE):
        if services.synced_profiles.of(tenant.name, profile_id).deleted_at is None:
            continue  # restored since
        job = DeleteProfile(
            tenant=tenant.name,
            id=services.new_id(),
            accepted_at=at,
            profile_id=profile_id,
        )
        services.queue.put(job, tenant)
