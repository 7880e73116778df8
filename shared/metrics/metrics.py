"""Metrics: a call from Omneo becomes a job, and the job becomes a Klaviyo event."""

import base64
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared import logs
from shared.errors import CannotSucceedError, RefusedError, UnsureError
from shared.jobs.jobs import SendMetric
from shared.metrics.profile import with_profile
from shared.metrics.rules.event import (
    email_of,
    klaviyo_profile_id,
    metric_called,
    read_metric,
    with_id_token,
)
from shared.metrics.rules.event_profile import names_of, with_phone, without_blamed
from shared.tenants.tenants import Tenant
from shared.traffic.rules.counts import name_shown
from shared.values.phones import region_of

MOST_REFUSALS = 5  # Klaviyo names one fault at a time, and few can be left after our own checks
PART_REFUSED = "refused by Klaviyo"

if TYPE_CHECKING:  # the function that only queues must not import the clients
    from shared.jobs.queue import TaskQueue
    from shared.klaviyo.client import KlaviyoClient
    from shared.omneo.client import IdToken, OmneoClient


def accept_metric(
    tenant: Tenant,
    body: object,
    *,
    metric_name: str,
    with_token: bool,
    queue: "TaskQueue",
    now: datetime,
    new_id: Callable[[], str],
    traceparent: str,
    to_be_queued: Callable[[SendMetric], SendMetric | None] = lambda job: job,
) -> SendMetric:
    """Queue the event that `body` describes, and return its job.

    `unique_id` and `time` are fixed here, so that Klaviyo keeps one event however often the job runs. `to_be_queued` returns the job as it
    has to be queued, None if the event waits elsewhere.

    Raises:
        InvalidPayloadError, PayloadTooLargeError: the caller can fix it.
        QueueUnavailableError: nothing was queued; the caller should call again.
    """
    logs.note(metric=name_shown(metric_called(body, metric_name)))
    id = new_id()
    metric = read_metric(body, metric_name=metric_name, with_token=with_token, now=now, unique_id=id)
    job = SendMetric(
        tenant=tenant.name,
        id=id,
        accepted_at=now,
        event=metric.attributes,
        with_token=with_token,
        omneo_profile_id=metric.omneo_profile_id,
        traceparent=traceparent,
    )
    if (queued := to_be_queued(job)) is not None:
        queue.put(queued, tenant)
    logs.note(job=job.id, kind=job.kind)
    if metric.left_out:
        logs.note(left_out=names_of(metric.left_out))
    return job


def send_metric(job: SendMetric, tenant: Tenant, klaviyo: "KlaviyoClient", omneo: "OmneoClient") -> bool:
    """Create the event in Klaviyo, with a new ID token if the call asked for one. A repeat is harmless.

    Return whether Klaviyo no longer knows the id that Omneo holds as the profile's identity. A sync of the profile replaces that id.

    Raises:
        CannotSucceedError: the call asked for a token that Omneo will never mint, and the event is not sent without it. Or it names an
            Omneo profile that does not exist.
        ServiceError: Klaviyo or Omneo refused, or could not answer.
    """
    is_outdated = False
    for about in with_profile(job, handle=tenant.settings.identity_handle, klaviyo=klaviyo, omneo=omneo):
        event = _finished(about.event, job, tenant, omneo)
        try:
            _create(event, klaviyo)
        except RefusedError as error:
            is_outdated = about.by_identity and error.status == 404
            if not is_outdated:
                raise
        else:
            break
    return is_outdated


def _finished(
    event: Mapping[str, Any], job: SendMetric, tenant: Tenant, omneo: "OmneoClient"
) -> Mapping[str, Any]:
    """Return the event as Klaviyo gets it, with its phone number in E.164 and its token."""
    event = with_the_number_read(event, tenant)
    if not job.with_token:
        return event
    token = _mint(job, tenant, omneo)
    encoded = base64.b64encode(token.token.get_secret_value().encode()).decode()
    return with_id_token(event, encoded, token.exp)


def with_the_number_read(event: Mapping[str, Any], tenant: Tenant) -> Mapping[str, Any]:
    """Return the event with its profile's phone number in E.164, or without a number that cannot be read."""
    country = tenant.klaviyo.account_country if tenant.klaviyo else ""
    event, is_left_out = with_phone(event, region_of(tenant.settings.default_region, country))
    if is_left_out:
        logs.note(left_out=["phone_number"])
    return event


def _create(event: Mapping[str, Any], klaviyo: "KlaviyoClient") -> None:
    """Create the event, without the values that Klaviyo refuses. The profile, the metric and the key stay."""
    for _ in range(MOST_REFUSALS):
        try:
            return klaviyo.create_event(event)
        except RefusedError as error:
            blamed = (
                ("/data/attributes/profile/data/id",) if error.status == 404 else (error.field, *error.fields)
            )
            rest = without_blamed(event, blamed)
            if rest is None:
                raise
            event = rest
            logs.note(left_out=[PART_REFUSED])
    return klaviyo.create_event(event)


def _mint(job: SendMetric, tenant: Tenant, omneo: "OmneoClient") -> "IdToken":
    """Mint a token for the event's profile, by the first of these that Omneo knows: its Klaviyo id, its Omneo id, its email."""
    refusal: RefusedError | None = None
    doubt: UnsureError | None = None
    for attempt in _ways_to_mint(job, tenant, omneo):
        try:
            if (token := attempt()) is not None:
                return token
        except RefusedError as error:
            refusal = error
        except UnsureError as error:
            doubt = error
    if doubt is not None:
        raise doubt
    if refusal is not None:
        raise CannotSucceedError(
            f"The event asked for an ID token and Omneo does not mint one: {refusal}. It was not sent without."
        ) from refusal
    raise CannotSucceedError(
        "The event asked for an ID token and no Omneo profile has its email. It was not sent without."
    )


def _ways_to_mint(
    job: SendMetric, tenant: Tenant, omneo: "OmneoClient"
) -> Iterator[Callable[[], "IdToken | None"]]:
    if klaviyo_id := klaviyo_profile_id(job.event):
        handle = tenant.settings.identity_handle
        yield lambda: omneo.mint_id_token_by_identity(identifier=klaviyo_id, handle=handle)
    if job.omneo_profile_id:
        yield lambda: omneo.mint_id_token(profile_id=job.omneo_profile_id)
    if email := email_of(job.event):
        yield lambda: _minted_by_email(email, omneo)


def _minted_by_email(email: str, omneo: "OmneoClient") -> "IdToken | None":
    profile = omneo.find_profile_by_email(email)
    return omneo.mint_id_token(profile_id=profile.id) if profile else None
