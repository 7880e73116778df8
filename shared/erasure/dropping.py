"""Drops work that was accepted before its person was erased: queued tasks cannot be searched, so each is checked when it is delivered."""

from collections.abc import Callable
from datetime import datetime
from functools import cache

from shared.erasure.parts import without
from shared.jobs.jobs import AnyJob
from shared.services import Services
from shared.tenants.erasures import Erasures, Identifier, mark_of
from shared.tenants.tenants import Tenant


def without_the_erased(job: AnyJob, tenant: Tenant, services: Services) -> AnyJob | None:
    """Return the rest of the job: see `without`. For a tenant without an erasure in the last month, the store is not read."""
    if not somebody_was_erased(tenant, services):
        return job
    erasures = Erasures(services.documents, services.clock)

    @cache  # many parts of a job may be about the same person
    def last(name: Identifier, value: str) -> datetime | None:
        return erasures.last(tenant.name, mark_of(tenant, name, value))

    def is_erased(name: Identifier, value: str, since: datetime) -> bool:
        at = last(name, value) if value else None
        return at is not None and since <= at

    return without(job, is_erased)


def dropping(tenant: Tenant, services: Services) -> Callable[[AnyJob], bool]:
    """Return a function that says whether a job's person was erased. It serves many jobs, and the erased persons are read only once, here."""
    if not somebody_was_erased(tenant, services):
        return lambda _: False
    known = Erasures(services.documents, services.clock).all(tenant.name)

    def is_erased(name: Identifier, value: str, since: datetime) -> bool:
        at = known.get(mark_of(tenant, name, value)) if value else None
        return at is not None and since <= at

    return lambda job: without(job, is_erased) is None


def somebody_was_erased(tenant: Tenant, services: Services) -> bool:
    """Return whether the tenant, as it is known here, has erased a person whose jobs may still be in the queue."""
    return (
        tenant.erased_until is not None
        and tenant.ledger_key is not None
        and services.clock() < tenant.erased_until
    )
