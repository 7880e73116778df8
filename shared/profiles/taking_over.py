"""Taking over a Klaviyo profile that belongs to nobody in Omneo: one sync at a time does, else it would become two people's.

Only syncs that take one over come here. That a Klaviyo profile is somebody's already is `ownership.py`'s to say.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from shared.errors import TurnTakenError
from shared.services import Services
from shared.storage.leases import Lease, id_of

LASTING = timedelta(minutes=5)  # as long as a worker may run

# Takes a Klaviyo profile over, by its id, and returns whether another has done so since it may have been read.
TakeOver = Callable[[str], bool]


@contextmanager
def taking_over(services: Services) -> Iterator[TakeOver]:
    """Yield a function that prevents other syncs from taking over a Klaviyo profile until the end of the block.

    The function raises TurnTakenError if another sync takes the profile over. A sync that dies keeps a profile for `LASTING`.
    """
    held: dict[str, Lease] = {}

    def take_over(klaviyo_id: str) -> bool:
        if klaviyo_id in held:
            return False
        # Without the tenant: its staging twin may use the same account.
        name = f"take over {klaviyo_id}"
        lease = services.leases.acquire(name, lasting=LASTING)
        if lease is None:
            raise TurnTakenError("another sync takes over the same Klaviyo profile", turn=id_of(name))
        held[klaviyo_id] = lease
        return lease.before is not None

    try:
        yield take_over
    finally:
        for lease in held.values():
            # The trace tells a sync that has looked already that its knowledge is old.
            services.leases.release(lease, trace=LASTING)
