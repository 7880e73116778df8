"""Work that was accepted before its person was erased: queued tasks cannot be searched, so each is looked at when it is delivered."""

from collections.abc import Callable
from datetime import datetime
from functools import cache

from shared.erasure.parts import without
from shared.jobs.jobs import AnyJob
from shared.services import Services
from shared.tenants.erasures import Erasures, Identifier, mark_of
from shared.tenants.tenants import Tenant


def without_the_erased(job: AnyJob, tenant: Tenant, services: Services) -> AnyJob | None:
    """Return what is left of the job: see `without`. A tenant of whom nobody was erased for a month costs no look into the store."""
    if not somebody_was_erased(tenant, services):
        return job
    erasures = Erasures(services.documents, services.clock)

    @cache  # the same person may be in many of a job's parts
    def last(name: Identifier, value: str) -> datetime | None:
        return erasures.last(tenant.name, mark_of(tenant, name, value))

    def is_erased(name: Identifier, value: str, since: datetime) -> bool:
        at = last(name, value) if value else None
        return at is not None and since <= at

    return without(job, is_erased)


def dropping(tenant: Tenant, services: Services) -> Callable[[AnyJob], bool]:
    """Return what tells of a job whether its person was erased, for somebody who has many jobs: who was is looked up once, here."""
    if not somebody_was_erased(tenant, services):
        return lambda _: False
    known = Erasures(services.documents, services.clock).all(tenant.name)

    def is_erased(name: Identifier, value: str, since: datetime) -> bool:
        at = known.get(mark_of(tenant, name, value)) if value else None
        return at is not None and since <= at

    return lambda job: without(job, is_erased) is None


def somebody_was_erased(tenant: Tenant, services: Services) -> bool:
    """Return whether the tenant, as it is known here, has erased anybody of whom the queue may still bring up work."""
    return (
        tenant.erased_until is not None
        and tenant.ledger_key is not None
        and services.clock() < tenant.erased_until
    )
