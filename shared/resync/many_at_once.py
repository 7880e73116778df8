"""Work on many people at once: their turns, and their profiles in Klaviyo. Other modules decide about the people."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Executor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, TypeVar

from shared import logs
from shared.errors import RefusedError
from shared.klaviyo.profiles import KlaviyoProfile
from shared.profiles.turn import turn_name
from shared.resync.klaviyo_lookup import KlaviyoLookup
from shared.services import Services
from shared.storage.leases import Lease
from shared.tenants.tenants import Tenant

# Shorter than a sync's own: when a process dies over a thousand people, their syncs and opt-outs wait for this.
TURN = timedelta(seconds=90)

T = TypeVar("T")
R = TypeVar("R")


class TakeTurns(Protocol):
    """Takes the turns of people, by the Omneo ids that `who` returns, and returns the people whose turns were free."""

    def __call__(self, things: Iterable[T], who: Callable[[T], str]) -> list[T]:
        """Take them."""


@dataclass(frozen=True)
class ManyAtOnce:
    """For one tenant, on these threads."""

    tenant: Tenant
    services: Services
    threads: Executor

    def each(self, do: Callable[[T], R], things: Iterable[T]) -> list[R]:
        """Call the function for each, and return the results in the same order.

        If this raises an error, no call is still running.
        """
        asked = [self.threads.submit(do, one) for one in things]
        wait(asked, return_when=FIRST_EXCEPTION)
        for one in asked:
            one.cancel()
        wait(asked)
        for one in asked:
            if not one.cancelled() and (error := one.exception()) is not None:
                raise error
        return [one.result() for one in asked]

    @contextmanager
    def turns(self) -> Iterator[TakeTurns]:
        """Yield a function that takes people's turns, and hold these until the end of the block."""
        leases, held = self.services.leases, list[Lease]()

        def take(things: Iterable[T], who: Callable[[T], str]) -> list[T]:
            def is_free(one: T) -> bool:
                lease = leases.acquire(turn_name(self.tenant.name, who(one)), lasting=TURN)
                if lease is not None:
                    held.append(lease)
                return lease is not None

            found = list(things)
            return [one for one, is_taken in zip(found, self.each(is_free, found), strict=True) if is_taken]

        try:
            yield take
        finally:
            self.each(leases.release, held)

    def held_under(self, klaviyo_ids: Iterable[str]) -> Mapping[str, KlaviyoProfile]:
        """Return the profiles that Klaviyo has under these ids; none, where it refuses to show any."""
        ids, services = list(klaviyo_ids), self.services
        lookup = KlaviyoLookup(services.klaviyo(self.tenant), self.threads, services.clock, services.sleep)
        try:
            known = lookup.ids(ids)
        except RefusedError as error:
            logs.write(logging.WARNING, "Klaviyo refuses to show profiles", reason=str(error))
            return {}
        found = {id: known.of("id", id) for id in ids}
        return {id: one for id, one in found.items() if one is not None and one.id == id}
