"""Rewards: a Flow's call becomes one reward in Omneo, while the caller waits.

Omneo may or may not refuse a repeated `external_id`, so nothing rests on it. A reward is claimed before it is made and noted after; where
it is not known whether it was made, it is looked for first.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from shared import logs
from shared.deadlines import lasting, seconds_left, time_left
from shared.domain.reward_expiry import expiry_of
from shared.domain.rewards import (
    RewardRequest,
    check_amount,
    fingerprint,
    is_known_by,
    omneo_reward,
    read_reward,
)
from shared.errors import (
    BusyError,
    CapReachedError,
    ExtensionError,
    InvalidPayloadError,
    ProfileNotFoundError,
    RefusedError,
    ServiceError,
    StoreUnavailableError,
    TokenRejectedError,
    WaitError,
)
from shared.reward_attempts import RewardAttempts
from shared.reward_claims import LIFE, Claim, Issued, RewardClaims
from shared.reward_counts import Place
from shared.services import Services
from shared.tenants import Tenant

if TYPE_CHECKING:
    from shared.omneo.client import OmneoClient, Reward

# Klaviyo repeats a 503 for a day, and drops what its own or a gateway's time-out ends.
ANSWER_WITHIN = 9.0
CREATE_SECONDS = 1.5  # with less than this, nothing is begun that could be left in doubt
NOTE_SECONDS = 1.0  # kept for our own store once Omneo has answered
POLL_SECONDS = 3.0
POLL_EVERY = 0.2

_NOT_MADE = {403, 425, 429}  # said before the call was carried out: by the edge, or a throttle
_OVER = {500, 503}  # Omneo is done with the call, whatever came of it; after any other 5xx it may not be


@dataclass(frozen=True)
class Result:
    """What became of a call."""

    status: Literal["created", "exists"]
    reward_id: int | str


@dataclass(frozen=True)
class _Work:
    """One call that holds its claim."""

    tenant: Tenant
    request: RewardRequest
    claim: Claim
    claims: RewardClaims | RewardAttempts
    body: str
    omneo: "OmneoClient"
    services: Services


def issue_reward(tenant: Tenant, body: object, *, flow: str, services: Services) -> Result:
    """Issue the reward that `body` asks for, or return the one that was issued for its `id`.

    `flow` is the id of the calling flow, as Klaviyo's header has it.

    Raises:
        InvalidPayloadError, ProfileNotFoundError: the caller can fix it.
        CapReachedError: the tenant's own limit of this hour is reached.
        WaitError, OwnServiceError: the same call should come again.
    """
    request = read_reward(body, timezone=_timezone(tenant), now=services.clock())
    mark = fingerprint(body)
    claims: RewardClaims | RewardAttempts = services.reward_claims
    if request.id:
        claim = _claimed(tenant.name, request.id, mark, services)
    else:
        claims = services.reward_attempts
        claim = _begun(tenant.name, fingerprint([flow, body]), services)
    if isinstance(claim, Issued):
        return _issued_before(claim, mark)
    work = _Work(tenant, request, claim, claims, mark, services.omneo(tenant), services)
    try:
        result = _issue(work)
    except ServiceError as error:
        raise _explained(error) from error
    logs.note(outcome=result.status)
    return result


def _claimed(tenant: str, id: str, mark: str, services: Services) -> Claim | Issued:
    """Return the claim on an id, or what was issued for it; wait a little for a call that is issuing it now."""
    for _ in range(round(POLL_SECONDS / POLL_EVERY)):
        taken = services.reward_claims.take(tenant, id, mark)
        if taken is not None:
            return taken
        if seconds_left() < POLL_EVERY + CREATE_SECONDS + NOTE_SECONDS:
            break
        services.sleep(POLL_EVERY)
    raise BusyError("Another call with this id is under way, or has not seen its end. Call again.")


def _begun(tenant: str, call: str, services: Services) -> Claim:
    claim = services.reward_attempts.begin(tenant, call)
    if claim is None:
        raise BusyError("What became of an equal call before this one is not known yet. Call again.")
    return claim


def _issued_before(issued: Issued, mark: str) -> Result:
    if issued.body != mark:
        logs.write(
            logging.WARNING,
            "a reward's id came again with another body; the first reward stands",
            kind="reward",
        )
    logs.note(outcome="exists")
    return Result("exists", issued.reward_id)


def _issue(work: _Work) -> Result:
    """Make the reward, or find it. Whatever happens, the claim is left in the state that is true."""
    place: Place | None = None
    try:
        with _omneos_time():
            profile_id = _profile_id(work)
            found = _find(work, profile_id) if work.claim.in_doubt else None
            if found is None:
                check_amount(work.request, work.tenant.settings.reward_max_amount)
                expires_at = work.request.expires_at or _expiry(work)
                place = _place(work)
                _check_time()
    except Exception:
        _not_made(work, place)
        raise
    if found is None:
        return _create(work, profile_id, expires_at, place)
    return _noted(work, "exists", profile_id, found)


def _create(work: _Work, profile_id: str, expires_at: str, place: Place | None) -> Result:
    body = omneo_reward(work.request, profile_id=profile_id, expires_at=expires_at, key=work.claim.key)
    try:
        with _omneos_time():
            made = work.omneo.create_reward(body)
    except WaitError as error:
        if error.status in _NOT_MADE:
            _not_made(work, place)
            raise
        raise _unknown(work, error) from error
    except ServiceError as error:
        if work.request.id and _says_repeated(error):
            return _repeated(work, profile_id, place)
        _not_made(work, place)
        raise
    return _noted(work, "created", profile_id, made)


def _repeated(work: _Work, profile_id: str, place: Place | None) -> Result:
    """Omneo knows the id already: find whose reward it is."""
    try:
        with _omneos_time():
            found = _find(work, profile_id)
    except Exception:
        _store(lambda: work.claims.leave_in_doubt(work.claim))
        _free(work, place)
        raise
    if found is None:
        _not_made(work, place)
        raise InvalidPayloadError(
            "id belongs to a reward of another profile, or to one that was not made here. Send an id of its own."
        )
    _free(work, place)
    return _noted(work, "exists", profile_id, found)


# What Omneo is asked


def _profile_id(work: _Work) -> str:
    request, profile = work.request, None
    if request.person_id:
        handle = work.tenant.settings.identity_handle
        profile = work.omneo.find_profile_by_identity(handle, request.person_id)
    if profile is None and request.email:
        profile = work.omneo.find_profile_by_email(request.email)
    if profile is None:
        raise ProfileNotFoundError(
            "No Omneo profile has this person_id as its Klaviyo identity, or this email."
        )
    return profile.id


def _find(work: _Work, profile_id: str) -> "Reward | None":
    for reward in work.omneo.rewards_of_profile(profile_id):
        if is_known_by(work.claim.key, external_id=reward.external_id, meta=reward.meta):
            return reward
    return None


def _expiry(work: _Work) -> str:
    request, services = work.request, work.services
    definition = services.reward_definitions.get(
        work.omneo, work.tenant.name, id=request.definition_id, handle=request.definition_handle
    )
    if definition is None:
        name = "reward_definition_handle" if request.definition_id == "" else "reward_definition_id"
        raise InvalidPayloadError(f"data.{name} must name a reward definition that Omneo has.")
    return expiry_of(
        period=definition.period,
        period_type=definition.period_type,
        absolute_expiry=definition.absolute_expiry,
        timezone=request.timezone,
        now=services.clock(),
    )


def _place(work: _Work) -> Place | None:
    most = work.tenant.settings.reward_max_per_hour
    if most is None:
        return None
    counts = work.services.reward_counts
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
def _omneos_time() -> Iterator[None]:
    """Let calls of Omneo end while our own store can still be told of them."""
    around = time_left()
    with lasting(lambda: around() - NOTE_SECONDS):
        yield


# What is noted


def _noted(work: _Work, status: Literal["created", "exists"], profile_id: str, reward: "Reward") -> Result:
    issued = Issued(reward.id, profile_id, work.body)
    if not _store(lambda: work.claims.issued(work.claim, issued)):
        logs.write(
            logging.ERROR, "a reward was issued and could not be noted; it will be looked for", kind="reward"
        )
    return Result(status, reward.id)


def _not_made(work: _Work, place: Place | None) -> None:
    """Nothing was made by this call; only a call before it may have made something, if it did not look to the end."""
    end = work.claims.leave_in_doubt if work.claim.in_doubt else work.claims.give_back
    _store(lambda: end(work.claim))
    _free(work, place)


def _unknown(work: _Work, error: WaitError) -> WaitError:
    """It is not known whether it was made. The place in the count stays taken."""
    is_over = error.status in _OVER or (error.status is not None and error.status < 400)
    wait = [LIFE.total_seconds()]
    if is_over:
        _store(lambda: work.claims.leave_in_doubt(work.claim))
        return error
    _store(lambda: wait.append(work.claims.wait_out(work.claim)))
    return WaitError(str(error), service=error.service, status=error.status, retry_after=wait[-1])


def _free(work: _Work, place: Place | None) -> None:
    if place is not None:
        _store(lambda: work.services.reward_counts.give_back(place))


def _store(write: Callable[[], object]) -> bool:
    """Write what no answer depends on; return whether it was written. A claim that is not ended ends by itself."""
    try:
        write()
    except StoreUnavailableError:
        return False
    return True


# What is told


def _says_repeated(error: ServiceError) -> bool:
    """Return whether Omneo refuses a repeated `external_id`. How it does is not documented; Laravel would do either."""
    said = f"{error.field} {error.detail}".replace("_", " ").lower()
    return error.status == 409 or (error.status == 422 and "external id" in said)


def _explained(error: ServiceError) -> ExtensionError:
    """Return what the caller should be told."""
    if isinstance(error, TokenRejectedError) or (isinstance(error, RefusedError) and error.status == 403):
        logs.write(
            logging.CRITICAL,
            "Omneo does not let our token issue rewards; an operator must set one with the scopes that the README names",
            kind="reward",
            service=error.service,
            reason=str(error),
        )
        return WaitError("Omneo refuses our token for now. Call again.", service=error.service)
    if isinstance(error, RefusedError) and error.status not in {404, 405}:
        field = f" at {error.field}" if error.field else ""
        return InvalidPayloadError(f"Omneo does not accept the reward{field}. Change that in data.")
    if isinstance(error, RefusedError):  # the address, not the reward: nothing in the call would mend that
        return WaitError(str(error), service=error.service)
    return error


def _timezone(tenant: Tenant) -> str:
    """Return the time zone of rewards whose call names none."""
    account = tenant.klaviyo.account_timezone if tenant.klaviyo else ""
    return tenant.settings.timezone or account or "UTC"
