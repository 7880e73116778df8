"""Rewards that are being issued for calls without an `id`, where every call is a reward of its own.

Only one thing needs memory there: an equal call that follows one whose answer from Omneo was never seen may be its retry, and must look
first. So each attempt is noted before Omneo is called and forgotten when the answer is seen. Attempts that are under way are
nobody else's business; one that is not over when its call must have been answered is left behind by a process that died.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Self

from shared.rewards.claims import LIFE, Claim, HeldDocuments, Issued, is_ahead
from shared.storage.documents import Value, delete_all

if TYPE_CHECKING:
    from shared.services import Services

# A little longer than a call can take until it is answered.
LIVE = timedelta(seconds=12)
# Klaviyo repeats a call for a day. What comes later is another call.
KEPT = timedelta(hours=25)


class RewardAttempts(HeldDocuments):
    """Attempts whose answer has not been seen yet. `call` is the fingerprint of what equal calls have in common."""

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store that these services stand on."""
        return cls(services.documents, services.clock, services.new_id)

    def begin(self, tenant: str, call: str) -> Claim | None:
        """Note an attempt, or take over one that was left behind; None while it is too early to look what became of that."""
        collection, now, is_early = _collection(tenant), self._clock(), False
        fields: dict[str, Value] = {"live_until": now + LIVE, "until": now + LIFE, "expire_at": now + KEPT}
        for found in self._documents.find(collection, where={"call": call}):
            if not is_ahead(found, "expire_at", now):
                self._documents.delete(collection, found.id)
            elif is_ahead(found, "until", now):
                is_early = is_early or not is_ahead(found, "live_until", now)
            elif claim := self._take_over(collection, found, found.id, fields):
                return claim
        if is_early:
            return None
        key = self._new_id()
        claim = Claim(collection, key, self._new_id(), key, in_doubt=False)
        self._documents.create(collection, key, {**fields, "call": call, "holder": claim.holder})
        return claim

    def issued(self, claim: Claim, issued: Issued) -> None:
        """Forget the attempt: its answer was seen."""
        self._documents.delete(claim.collection, claim.id)

    def wait_out(self, claim: Claim) -> float:
        """See `HeldDocuments.wait_out`. The call is over, so an equal one is no longer beside it but after it."""
        self._change(claim, {"live_until": self._clock()})
        return super().wait_out(claim)

    def forget(self, tenant: str) -> None:
        """Forget every attempt of a tenant."""
        delete_all(self._documents, _collection(tenant))


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/reward_attempts"
