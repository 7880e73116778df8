"""The dead jobs of a person, and their part of dead jobs that are about many people."""

import json

from shared.erasure.parts import without
from shared.erasure.person import Person
from shared.jobs.burial import hashes_of
from shared.jobs.dead_jobs import DeadJob, DeadJobStore
from shared.jobs.jobs import UnknownJobKindError, UnreadableJobError, read_job, write_job
from shared.services import Services
from shared.tenants.erasures import Identifier
from shared.tenants.tenants import Tenant

PAGE = 20  # of up to 1 MiB each


def erase_dead_jobs(person: Person, tenant: Tenant, services: Services) -> int:
    """Remove what dead jobs hold of the person, and return how many did."""
    desk, erased, after = DeadJobStore(services.documents, services.keys), 0, None
    while page := desk.page(tenant.name, after=after, limit=PAGE):
        after = page[-1].id
        for dead in page:
            body = _without(dead, person)
            if body == dead.body:
                continue
            erased += 1
            if body is None:
                desk.delete(tenant.name, dead.id)
            else:
                hashes = hashes_of(json.loads(body), tenant)
                desk.cut_down(tenant.name, dead.id, body, profiles=hashes)
    return erased


def _without(dead: DeadJob, person: Person) -> bytes | None:
    """Return the body without what is the person's, None if the whole is. One that cannot be read is the person's if it names them."""
    known = {(name, value.casefold()) for name, value in person.identifiers()}

    def is_theirs(name: Identifier, value: str, _since: object) -> bool:
        return (name, value.strip().casefold()) in known

    try:
        job = read_job(dead.body)
    except (UnreadableJobError, UnknownJobKindError):
        text = dead.body.decode(errors="replace").casefold()
        return None if any(value in text for _, value in known) else dead.body
    left = without(job, is_theirs)
    if left is None or _is_whole(left, person):
        return None
    # What the service said of it may quote the person as well.
    named = any(value in dead.detail.casefold() for _, value in known)
    return dead.body if left is job and not named else write_job(left)


def _is_whole(job: object, person: Person) -> bool:
    """Return whether a job that an erasure lets run while it is queued is about the person: dead, nobody waits for it."""
    named = {getattr(job, name, None) for name in ("profile_id", "profile", "klaviyo_id")}
    return bool(named & {person.profile_id, *person.klaviyo_ids} - {""})
