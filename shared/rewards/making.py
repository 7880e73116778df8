"""Makes one reward under its claim: it looks for the reward if there is doubt, makes it, and leaves the claim in its true state.

Every failure between our store and Omneo is handled here. The claim holds the person; claims.py decides who may hold a claim, and rewards.py
answers the caller.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from shared import logs
from shared.errors import (
    BusyError,
    CapReachedError,
    InvalidPayloadError,
    ServiceError,
    StoreUnavailableError,
    WaitError,
)
from shared.http.deadlines import lasting, seconds_left, time_left
from shared.rewards.attempts import RewardAttempts
from shared.rewards.claims import LIFE, Claim, Issued, RewardClaims
from shared.rewards.counts import Place, RewardCounts
from shared.rewards.definitions import RewardDefinitions
from shared.rewards.rules.amount import in_currency
from shared.rewards.rules.expiry import expiry_of
from shared.rewards.rules.reward import RewardRequest, check_reward, is_known_by, omneo_reward
from shared.services import Services
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.omneo.client import OmneoClient, Reward, RewardDefinition

CREATE_SECONDS = 1.5  # with less time than this, no call begins that could end in doubt
NOTE_SECONDS = 1.0  # kept for our own store once Omneo has answered

_NOT_MADE = {
    403,
    404,
    405,
    425,
    429,
}  # answers that come before the call is carried out: from the edge, or a throttle
_OVER = {
    500,
    503,
}  # Omneo is done with the call, with or without effect; after any other 5xx it may still work


@dataclass(frozen=True)
class Result:
    """The result of a call."""

    status: Literal["created", "exists"]
    reward_id: int | str


@dataclass(frozen=True)
class Work:
    """One call that holds its claim."""

    tenant: Tenant
    request: RewardRequest
    claim: Claim
    claims: RewardClaims | RewardAttempts
    body: str
    omneo: "OmneoClient"
    services: Services


def make_or_find(work: Work) -> Result:
    """Make the reward, or find it. In every case the claim is left in its true state."""
    place: Place | None = None
    try:
        with omneos_time():
            found = _find(work) if work.claim.in_doubt else None
            if found is None:
                request = _complete(work)
                check_reward(request, most=work.tenant.settings.reward_max_amount, now=work.services.clock())
                place = _place(work)
                _check_time()
    except Exception:
        _not_made(work, place)
        raise
    if found is None:
        return _create(work, request, place)
    return _noted(work, "exists", found)


def _create(work: Work, request: RewardRequest, place: Place | None) -> Result:
    body = omneo_reward(request, profile_id=work.claim.profile_id, key=work.claim.key)
    try:
        with omneos_time():
            made = work.omneo.create_reward(body)
    except WaitError as error:
        if error.status in _NOT_MADE:
            _not_made(work, place)
            raise
        raise _unknown(work, error) from error
    except ServiceError as error:
        if work.request.id and _says_repeated(error):
            return _repeated(work, place)
        _not_made(work, place)
        raise
    return _noted(work, "created", made)


def _repeated(work: Work, place: Place | None) -> Result:
    """Omneo knows the id already: find this person's reward, or refuse the call because another person's reward has the id."""
    try:
        with omneos_time():
            found = _find(work)
    except Exception:
        _store(lambda: work.claims.leave_in_doubt(work.claim))
        _free(work, place)
        raise
    if found is None:
        _not_made(work, place)
        raise InvalidPayloadError(
            "id belongs to a reward of another profile in Omneo. Make it different for each person: put {{ person.id }} at its end."
        )
    _free(work, place)
    return _noted(work, "exists", found)


# Calls to Omneo


def _find(work: Work) -> "Reward | None":
    for reward in work.omneo.rewards_of_profile(work.claim.profile_id):
        if is_known_by(work.claim.key, external_id=reward.external_id, meta=reward.meta):
            return reward
    return None


def _complete(work: Work) -> RewardRequest:
    """Return the request with its amount rounded to the currency and with its expiry.

    The definition is read only if it is needed: for its period, or for the currency of an amount that is not whole.
    """
    request = work.request
    if request.expires_at and request.amount == int(request.amount):
        return replace(request, amount=int(request.amount))
    definition = _definition(work)
    expires_at = request.expires_at or expiry_of(
        period=definition.period,
        period_type=definition.period_type,
        absolute_expiry=definition.absolute_expiry,
        timezone=request.timezone,
        now=work.services.clock(),
    )
    return replace(request, amount=in_currency(request.amount, definition.currency), expires_at=expires_at)


def _definition(work: Work) -> "RewardDefinition":
    request = work.request
    definition = RewardDefinitions.of(work.services).get(
        work.omneo, work.tenant.name, id=request.definition_id, handle=request.definition_handle
    )
    if definition is None:
        name = "reward_definition_handle" if request.definition_id == "" else "reward_definition_id"
        raise InvalidPayloadError(f"data.{name} must name a reward definition that Omneo has.")
    return definition


def _place(work: Work) -> Place | None:
    most = work.tenant.settings.reward_max_per_hour
    if most is None:
        return None
    counts = RewardCounts.of(work.services)
    place = counts.reserve(work.tenant.name, most)
    if place is None:
        raise CapReachedError(
            "This tenant's reward_max_per_hour is reached. Call again in the next hour, or raise that setting.",
            retry_after=counts.seconds_to_next_hour(),
        )
    return place


def _check_time() -> None:
    if seconds_left() < CREATE_SECONDS:
        raise BusyError("There was not enough time left to issue the reward. Call again.")


@contextmanager
def omneos_time() -> Iterator[None]:
    """Let calls to Omneo end early enough for a note in our own store."""
    around = time_left()
    with lasting(lambda: around() - NOTE_SECONDS):
        yield


# Notes in our store


def _noted(work: Work, status: Literal["created", "exists"], reward: "Reward") -> Result:
    issued = Issued(reward.id, work.claim.profile_id, work.body)
    if not _store(lambda: work.claims.issued(work.claim, issued)):
        logs.write(
            logging.ERROR, "a reward was issued and could not be noted; it will be looked for", kind="reward"
        )
    return Result(status, reward.id)


def _not_made(work: Work, place: Place | None) -> None:
    """Note that this call made nothing. An earlier call may have made a reward, if this call has not looked to the end."""
    end = work.claims.leave_in_doubt if work.claim.in_doubt else work.claims.give_back
    _store(lambda: end(work.claim))
    _free(work, place)


def _unknown(work: Work, error: WaitError) -> WaitError:
    """Note that nobody knows whether the reward was made. The place in the count stays taken."""
    is_over = error.status in _OVER or (error.status is not None and error.status < 400)
    wait = [LIFE.total_seconds()]
    if is_over:
        _store(lambda: work.claims.leave_in_doubt(work.claim))
        return error
    _store(lambda: wait.append(work.claims.wait_out(work.claim)))
    return WaitError(str(error), service=error.service, status=error.status, retry_after=wait[-1])


def _free(work: Work, place: Place | None) -> None:
    if place is not None:
        _store(lambda: RewardCounts.of(work.services).give_back(place))


def _store(write: Callable[[], object]) -> bool:
    """Write a note on which no answer depends; return whether it was written. A claim that is not ended expires."""
    try:
        write()
    except StoreUnavailableError:
        return False
    return True


def _says_repeated(error: ServiceError) -> bool:
    """Return whether Omneo refuses a repeated `external_id`. The form of such a refusal is not documented; both forms are usual in Laravel."""
    said = f"{error.field} {error.detail}".replace("_", " ").lower()
    return error.status == 409 or (error.status == 422 and "external id" in said)
