"""Sending one message to a tenant's address, signed as standardwebhooks.com says."""

import json
import logging
from datetime import UTC

from shared import logs
from shared.audit import EXTENSION, Act, Audit
from shared.errors import CannotSucceedError, WaitError
from shared.http.outward import AddressRefusedError, Outward
from shared.jobs.jobs import Notify
from shared.services import Services
from shared.tenants.tenants import Tenant

GONE = 410


def send_notice(job: Notify, tenant: Tenant, services: Services) -> None:
    """Send the message to the address. A receiver recognises a repeated message by its `webhook-id`.

    Raises:
        CannotSucceedError: the address must not be called, or wants no more messages.
        WaitError: the address did not take the message; a later try may succeed.
    """
    url = tenant.settings.notify_url
    if url is None or not tenant.notify_secrets:
        logs.write(logging.INFO, "a message has no address any more", reason=job.cause)
        return
    body = json.dumps(
        {
            "type": job.cause,
            "timestamp": job.accepted_at.astimezone(UTC).isoformat(timespec="seconds"),
            "data": {"tenant": tenant.name, **job.about},
        }
    )
    outward = services.kept(Outward, Outward)
    try:
        status = outward.post(url, body.encode(), _headers(job, body, tenant, services))
    except AddressRefusedError as error:
        raise CannotSucceedError(f"notify_url {error}. Change the setting, then replay this job.") from None
    if status == GONE or 300 <= status < 400:
        what = "wants no more messages (410)" if status == GONE else f"answers with a redirect ({status})"
        raise CannotSucceedError(
            f"The address of notify_url {what}. Change the setting, then replay this job."
        )
    if not 200 <= status < 300:
        raise WaitError(f"answered with {status}", service="The address of notify_url", status=status)
    Audit.of(services).note(tenant.name, Act.TOLD, by=EXTENSION, about=job.cause)
    logs.write(logging.INFO, "a tenant was told", reason=job.cause, status=status)


def _headers(job: Notify, body: str, tenant: Tenant, services: Services) -> dict[str, str]:
    """Return the headers, with a signature by each valid secret: while one secret replaces another, a receiver may know either."""
    from standardwebhooks import Webhook

    now = services.clock().astimezone(UTC)
    signatures = [
        Webhook(secret.value.get_secret_value()).sign(job.id, now, body) for secret in tenant.notify_secrets
    ]
    return {
        "Content-Type": "application/json",
        "User-Agent": "omneo-klaviyo-extension",
        "webhook-id": job.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
