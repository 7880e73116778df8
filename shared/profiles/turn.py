"""The turn of an Omneo profile: one sync, look, deletion or erasure at a time works on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from shared.errors import TurnTakenError
from shared.services import Services
from shared.storage.leases import id_of
from shared.tenants.tenants import Tenant

TURN = timedelta(minutes=5)  # as long as a worker may run


def turn_name(tenant: str, profile_id: str) -> str:
    """Return the name of the lease of a profile's turn."""
    return f"sync {tenant} {profile_id}"


@contextmanager
def turn_at(profile_id: str, tenant: Tenant, services: Services) -> Iterator[None]:
    """Hold the profile's turn: two at once could let the older state be the last.

    Raises:
        TurnTakenError: somebody else has it.
    """
    name = turn_name(tenant.name, profile_id)
    turn = services.leases.acquire(name, lasting=TURN)
    if turn is None:
        raise TurnTakenError("another sync works on the profile", turn=id_of(name))
    try:
        yield
    finally:
        services.leases.release(turn)
