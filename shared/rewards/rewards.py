"""Rewards: a Flow's call becomes one reward in Omneo, while the caller waits.

It is unknown whether Omneo refuses a repeated `external_id`, so the extension does not rely on it. The person is found; then the reward is
claimed, made and noted. If nobody knows whether the reward was made, the call first looks for it, at the profile of the first call.
"""

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from shared import logs
from shared.errors import (
    BusyError,
    ExtensionError,
    InvalidPayloadError,
    ProfileNotFoundError,
    RefusedError,
    ServiceError,
    TokenRejectedError,
    WaitError,
)
from shared.http.deadlines import seconds_left
from shared.rewards.attempts import RewardAttempts
from shared.rewards.claims import Claim, Issued, Person, RewardClaims
from shared.rewards.making import CREATE_SECONDS, NOTE_SECONDS, Result, Work, make_or_find, omneos_time
from shared.rewards.rules.reward import RewardRequest, fingerprint, read_reward
from shared.services import Services
from shared.tenants.tenants import Tenant
from shared.values.zones import read_zone

if TYPE_CHECKING:
    from shared.omneo.client import OmneoClient

# Klaviyo repeats a 503 for a day, and drops a call that its own or a gateway's time-out ends.
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
    mark, omneo = fingerprint(body), services.omneo(tenant)
    claims = RewardClaims.of(services) if request.id else RewardAttempts.of(services)
    try:
        if request.id:
            held = _claimed(request, mark, tenant, omneo, services)
        else:
            held = _begun(request, fingerprint([flow, body]), tenant, omneo, services)
        if isinstance(held, Issued):
            return _issued_before(held, mark)
        result = make_or_find(Work(tenant, request, held, claims, mark, omneo, services))
    except ServiceError as error:
        raise _explained(error) from error
    logs.note(outcome=result.status)
    return result


def _claimed(
    request: RewardRequest, mark: str, tenant: Tenant, omneo: "OmneoClient", services: Services
) -> Claim | Issued:
    """Return the claim on this id for this person, or the issued reward. Wait a little for a call that issues it now."""
    claims, person = RewardClaims.of(services), Person(request.person_id, request.email)
    profile_id = claims.meant(tenant.name, request.id, person) or _profile_id(request, tenant, omneo)
    for left in range(round(POLL_SECONDS / POLL_EVERY), -1, -1):
        taken = claims.take(tenant.name, request.id, person, profile_id, mark)
        if taken is not None:
            return taken
        if not left or seconds_left() < POLL_EVERY + CREATE_SECONDS + NOTE_SECONDS:
            break
        services.sleep(POLL_EVERY)
    raise BusyError("Another call with this id is under way, or has ended without a result. Call again.")


def _begun(
    request: RewardRequest, call: str, tenant: Tenant, omneo: "OmneoClient", services: Services
) -> Claim:
    """Return a claim on the reward of an earlier call without an answer, or, if there is no such call, on a new reward."""
    attempts = RewardAttempts.of(services)
    followed = attempts.follow(tenant.name, call)
    if followed is not None and followed.profile_id:
        return followed
    profile_id = _profile_id(request, tenant, omneo)
    if followed is not None:  # noted by an earlier revision, which did not store the profile
        return replace(followed, profile_id=profile_id)
    return attempts.begin(tenant.name, call, profile_id)


def _profile_id(request: RewardRequest, tenant: Tenant, omneo: "OmneoClient") -> str:
    """Return the id of the call's Omneo profile: by Klaviyo's id, or, without a match, by email."""
    profile = None
    with omneos_time():
        if request.person_id:
            handle = tenant.settings.identity_handle
            profile = omneo.find_profile_by_identity(identifier=request.person_id, handle=handle)
        if profile is None and request.email:
            profile = omneo.find_profile_by_email(request.email)
    if profile is None:
        raise ProfileNotFoundError(
            "No Omneo profile has this person_id as its Klaviyo identity, or this email."
        )
    return profile.id


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
    """Return the error for the caller."""
    if isinstance(error, TokenRejectedError) or (isinstance(error, RefusedError) and error.status == 403):
        logs.write(
            logging.CRITICAL,
            "Omneo does not let our token issue rewards; an operator must set one with the permissions that deploy/guide/flows.md names",
            kind="reward",
            service=error.service,
            reason=str(error),
        )
        return WaitError("Omneo refuses our token for now. Call again.", service=error.service)
    if isinstance(error, RefusedError) and error.status not in {404, 405}:
        field = f" at {error.field}" if error.field else ""
        return InvalidPayloadError(f"Omneo does not accept the reward{field}. Change that in data.")
    if isinstance(
        error, RefusedError
    ):  # the refusal is about the address, not the reward: no other call would mend it
        return WaitError(str(error), service=error.service)
    return error


def _timezone(tenant: Tenant) -> str:
    """Return the time zone for calls that name none: the first valid one."""
    account = tenant.klaviyo.account_timezone if tenant.klaviyo else ""
    return next((name for name in (tenant.settings.timezone, account) if read_zone(name)), None) or "UTC"
