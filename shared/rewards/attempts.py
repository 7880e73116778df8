"""The attempts of calls without an `id`, each of which is a reward of its own.

Only one case needs a memory: Omneo's answer to a call never came, and an equal call follows. That call may be a retry, so it must first
look for the reward at the profile of the first call. So each attempt is noted before the call to Omneo, and forgotten when the answer
comes.
"""

from datetime import datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Self

from shared.errors import BusyError
from shared.rewards.claims import LIFE, Claim, HeldDocuments, Issued, is_ahead
from shared.storage.documents import Document, Value, delete_all

if TYPE_CHECKING:
    from shared.services import Services

# A little longer than a call can take.
LIVE = timedelta(seconds=12)
# Klaviyo repeats a call for a day. A later one is another call.
KEPT = timedelta(hours=25)


class State(Enum):
    """The meaning of an attempt for an equal call that comes now."""

    UNDER_WAY = auto()  # its call is not answered yet, so this call is no retry but a second reward
    UNCERTAIN = (
        auto()
    )  # its call is over without an answer of Omneo, and Omneo may still work: too early to look
    LEFT_BEHIND = (
        auto()
    )  # Omneo is done with it: this call may be its retry, so it takes the attempt over and looks
    PAST = auto()  # Klaviyo would no longer repeat its call


def state_of(attempt: Document, now: datetime) -> State:
    """Return the state of an attempt that was noted and not yet forgotten."""
    if not is_ahead(attempt, "expire_at", now):
        return State.PAST
    if not is_ahead(attempt, "until", now):
        return State.LEFT_BEHIND
    return State.UNDER_WAY if is_ahead(attempt, "live_until", now) else State.UNCERTAIN


class RewardAttempts(HeldDocuments):
    """Attempts without an answer. `call` is the fingerprint that equal calls share."""

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.clock, services.new_id)

    def follow(self, tenant: str, call: str) -> Claim | None:
        """Take over the attempt of an equal call that was left behind; None if there is none.

        Raises:
            BusyError: it is too early to look for its reward.
        """
        collection, now, is_early = _collection(tenant), self._clock(), False
        for found in self._documents.find(collection, where={"call": call}):
            match state_of(found, now):
                case State.PAST:
                    self._documents.delete(collection, found.id)
                case State.UNCERTAIN:
                    is_early = True
                case State.LEFT_BEHIND:
                    left = self._claim(collection, found.id, str(found.fields.get("profile_id", "")))
                    if taken := self._take_over(left, found, self._lives()):
                        return taken
                case State.UNDER_WAY:
                    pass
        if is_early:
            raise BusyError("The result of an equal call before this one is not known yet. Call again.")
        return None

    def begin(self, tenant: str, call: str, profile_id: str) -> Claim:
        """Note an attempt to make a reward for this Omneo profile."""
        claim = self._claim(_collection(tenant), self._new_id(), profile_id)
        fields = {**self._lives(), "call": call, "profile_id": profile_id, "holder": claim.holder}
        self._documents.create(claim.collection, claim.id, fields)
        return claim

    def issued(self, claim: Claim, issued: Issued) -> None:
        """Forget the attempt: Omneo has answered."""
        self._documents.delete(claim.collection, claim.id)

    def wait_out(self, claim: Claim) -> float:
        """See `HeldDocuments.wait_out`. The call is over, so an equal call from now on may be its retry."""
        self._change(claim, {"live_until": self._clock()})
        return super().wait_out(claim)

    def forget(self, tenant: str) -> None:
        """Forget every attempt of a tenant."""
        delete_all(self._documents, _collection(tenant))

    def _claim(self, collection: str, id: str, profile_id: str) -> Claim:
        return Claim(collection, id, self._new_id(), key=id, profile_id=profile_id, in_doubt=False)

    def _lives(self) -> dict[str, Value]:
        now = self._clock()
        return {"live_until": now + LIVE, "until": now + LIFE, "expire_at": now + KEPT}


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/reward_attempts"
