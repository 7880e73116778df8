"""Rewards: a Flow's call becomes one reward in Omneo, while the caller waits.

Omneo may or may not refuse a repeated `external_id`, so nothing rests on it. A reward is claimed before it is made and noted after; where
it is not known whether it was made, it is looked for first.
"""

import logging

from shared import logs
from shared.errors import (
    BusyError,
    ExtensionError,
    InvalidPayloadError,
    RefusedError,
    ServiceError,
    TokenRejectedError,
    WaitError,
)
from shared.http.deadlines import seconds_left
from shared.rewards.attempts import RewardAttempts
from shared.rewards.claims import Claim, Issued, RewardClaims
from shared.rewards.making import CREATE_SECONDS, NOTE_SECONDS, Result, Work, make_or_find
from shared.rewards.rules.reward import fingerprint, read_reward
from shared.services import Services
from shared.tenants.tenants import Tenant

# Klaviyo repeats a 503 for a day, and drops what its own or a gateway's time-out ends.
ANSWER_WITHIN = 9.0
POLL_SECONDS = 3.0
POLL_EVERY = 0.2


def issue_reward(tenant: Tenant, body: object, *, flow: str, services: Services) -> Result:
    """Issue the reward that `body` asks for, or return the one that was issued for its `id`.

    `flow` is the id of the calling flow, as Klaviyo's header has it.

    Raises:
        InvalidPayloadError, ProfileNotFoundError: the caller can fix it.
        CapReachedError: the tenant's own limit of this hour is reached.
        WaitError, OwnServiceError: the same call should come again.
    """
    request = read_reward(body, timezone=_timezone(tenant))
    mark = fingerprint(body)
    claims: RewardClaims | RewardAttempts = RewardClaims.of(services)
    if request.id:
        claim = _claimed(tenant.name, request.id, mark, services)
    else:
        claims = RewardAttempts.of(services)
        claim = _begun(tenant.name, fingerprint([flow, body]), services)
    if isinstance(claim, Issued):
        return _issued_before(claim, mark)
    work = Work(tenant, request, claim, claims, mark, services.omneo(tenant), services)
    try:
        result = make_or_find(work)
    except ServiceError as error:
        raise _explained(error) from error
    logs.note(outcome=result.status)
    return result


def _claimed(tenant: str, id: str, mark: str, services: Services) -> Claim | Issued:
    """Return the claim on an id, or what was issued for it; wait a little for a call that is issuing it now."""
    for left in range(round(POLL_SECONDS / POLL_EVERY), -1, -1):
        taken = RewardClaims.of(services).take(tenant, id, mark)
        if taken is not None:
            return taken
        if not left or seconds_left() < POLL_EVERY + CREATE_SECONDS + NOTE_SECONDS:
            break
        services.sleep(POLL_EVERY)
    raise BusyError("Another call with this id is under way, or has not seen its end. Call again.")


def _begun(tenant: str, call: str, services: Services) -> Claim:
    claim = RewardAttempts.of(services).begin(tenant, call)
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
