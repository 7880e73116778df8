"""Metrics: a call from Omneo becomes a job, and the job becomes a Klaviyo event."""

import base64
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from shared import logs
from shared.errors import CannotSucceedError, RefusedError
from shared.jobs.jobs import SendMetric
from shared.metrics.rules.event import email_of, klaviyo_profile_id, read_metric, with_id_token
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:  # the function that only queues must not pay for the clients
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
) -> SendMetric:
    """Queue the event that `body` describes, and return the job, once it is safe.

    `unique_id` and `time` are fixed here, so that however often the job runs, Klaviyo keeps one event.

    Raises:
        InvalidPayloadError, PayloadTooLargeError: the caller can fix it.
        QueueUnavailableError: nothing was queued; the caller should call again.
    """
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
    queue.put(job, tenant)
    logs.note(job=job.id, kind=job.kind)
    return job


def send_metric(job: SendMetric, tenant: Tenant, klaviyo: "KlaviyoClient", omneo: "OmneoClient") -> None:
    """Create the event in Klaviyo, with a fresh ID token if it asked for one. Repeating this is harmless.

    Raises:
        CannotSucceedError: it asked for a token and Omneo will never mint one; such an event is not sent without.
        ServiceError: what Klaviyo or Omneo answered.
    """
    event = job.event
    if job.with_token:
        token = _mint(job, tenant, omneo)
        encoded = base64.b64encode(token.token.get_secret_value().encode()).decode()
        event = with_id_token(event, encoded, token.exp)
    klaviyo.create_event(event)


def _mint(job: SendMetric, tenant: Tenant, omneo: "OmneoClient") -> "IdToken":
    """Mint a token for the profile the event is about: by its Klaviyo id, its Omneo id, or its email, whichever is known."""
    klaviyo_id = klaviyo_profile_id(job.event)
    try:
        if klaviyo_id:
            return omneo.mint_id_token_by_identity(
                identifier=klaviyo_id, handle=tenant.settings.identity_handle
            )
        if job.omneo_profile_id:
            return omneo.mint_id_token(profile_id=job.omneo_profile_id)
        profile = omneo.find_profile_by_email(email_of(job.event))
        if profile is not None:
            return omneo.mint_id_token(profile_id=profile.id)
    except RefusedError as error:
        raise CannotSucceedError(
            f"The event asked for an ID token and Omneo does not mint one: {error}. It was not sent without."
        ) from error
    raise CannotSucceedError(
        "The event asked for an ID token and no Omneo profile has its email. It was not sent without."
    )
