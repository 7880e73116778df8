"""The dead jobs of a person, and their part of dead jobs that are about many people."""

import json
from functools import partial
from typing import TYPE_CHECKING

from shared.erasure.dropping import somebody_was_erased, without_the_erased
from shared.erasure.parts import without
from shared.jobs.burial import hashes_of
from shared.jobs.dead_job import DeadJob
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import AnyJob, UnknownJobKindError, UnreadableJobError, read_job, write_job
from shared.services import Services
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.erasure.person import Person

PAGE = 20  # of up to 1 MiB each


def erase_dead_jobs(person: "Person", tenant: Tenant, services: Services) -> int:
    """Remove the person from dead jobs, and return how many jobs held the person."""
    desk, erased, after = DeadJobStore.of(services), 0, None
    while page := desk.page(tenant.name, after=after, limit=PAGE):
        after = page[-1].id
        for dead in page:
            if _without(dead, person, tenant) != dead:  # only these are read a second time
                erased += desk.cut_down(tenant.name, dead.id, partial(_without, person=person, tenant=tenant))
    return erased


def cut_the_erased(id: str, tenant: Tenant, services: Services) -> None:
    """Remove erased people from a job that has just died: an erasure may have come while a worker did the job.

    An erasure writes its note before it reads the desk, so the second of the two always sees the first.
    """
    tenant = services.tenant_cache.get(tenant.name) or services.tenant_cache.fresh(tenant.name) or tenant
    if not somebody_was_erased(tenant, services):
        return

    def cut(dead: DeadJob) -> DeadJob | None:
        try:
            job = read_job(dead.body)
        except (UnreadableJobError, UnknownJobKindError):
            return dead
        left = without_the_erased(job, tenant, services)
        return dead if left is job else _with(dead, left, tenant)

    DeadJobStore.of(services).cut_down(tenant.name, id, cut)


def _without(dead: DeadJob, person: "Person", tenant: Tenant) -> DeadJob | None:
    """Return the dead job without its parts about the person, None if nothing is left. An unreadable job counts as the person's if it names
    them.
    """
    known = {(name, value.casefold()) for name, value in person.identifiers()}

    try:
        job = read_job(dead.body)
    except (UnreadableJobError, UnknownJobKindError):
        text = dead.body.decode(errors="replace").casefold()
        return None if any(value in text for _, value in known) else dead
    left = without(job, lambda name, value, _since: person.is_called(name, value))
    if left is None or _is_whole(left, person):
        return None
    # The service's words may quote the person too.
    named = any(value in dead.detail.casefold() for _, value in known)
    return dead if left is job and not named else _with(dead, left, tenant)


def _with(dead: DeadJob, left: AnyJob | None, tenant: Tenant) -> DeadJob | None:
    """Return the dead job with the rest of its body, and without the service's words; None if nothing is left."""
    if left is None:
        return None
    body = write_job(left)
    return dead.model_copy(
        update={"body": body, "detail": "", "profiles": hashes_of(json.loads(body), tenant)}
    )


def _is_whole(job: object, person: "Person") -> bool:
    """Return whether a whole job is about the person.

    An erasure lets some such jobs run, but it takes all of them off the desk.
    """
    named = {getattr(job, name, None) for name in ("profile_id", "profile", "klaviyo_id", "omneo_profile_id")}
    return bool(named & {person.profile_id, *person.klaviyo_ids} - {""})
