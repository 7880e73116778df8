"""The end of a run over the whole base: whom Omneo has changed since it began is synced once more.

A run goes by profiles as they were read: an import that carried an older state may have come after a sync that knew better.
"""

from datetime import timedelta

from shared.profiles.calls import sync_soon
from shared.resync.runs import Run
from shared.services import Services
from shared.tenants.tenants import Tenant

PAGES_A_JOB = 10
# By as much as this, Omneo's and ours.
CLOCKS_DIFFER = timedelta(minutes=2)


def see_to_the_tail(run: Run, tenant: Tenant, services: Services) -> int | None:
    """Have some pages of them synced; return the page that follows, None if that was all.

    Raises:
        ServiceError, OwnServiceError: not now; all of it may be done again.
    """
    omneo = services.omneo(tenant)
    for number in range(run.tail_page, run.tail_page + PAGES_A_JOB):
        page = omneo.profiles_page(number, since=run.started_at - CLOCKS_DIFFER)
        for row in page.rows:
            sync_soon(tenant, str(row["id"]), queue=services.queue, clock=services.clock, leaves_undated=True)
        if number >= page.pages:
            return None
    return run.tail_page + PAGES_A_JOB
