"""The worker's messages to a tenant's own address."""

from datetime import timedelta

from shared.notify.telling import Cause, hour_of, tell
from shared.services import Services
from shared.tenants.tenants import Tenant

# A set-up that runs later than this after an install has another reason, such as a new webhook secret.
NEW = timedelta(hours=1)
SWEPT_EVERY_MINUTES = 5  # as the schedule of sweep-inbox says


def tell_of_an_outage(tenant: Tenant, services: Services) -> None:
    """Tell that the Klaviyo account is disconnected, if it is."""
    if tenant.klaviyo is not None and tenant.klaviyo.disconnected:
        tell(tenant, Cause.DISCONNECTED, services, reason=tenant.klaviyo.disconnected_reason)


def tell_of_a_new_connection(tenant: Tenant, services: Services) -> None:
    """Tell that an install within the last hour has connected a Klaviyo account."""
    klaviyo = tenant.klaviyo
    if klaviyo is not None and services.clock() - klaviyo.connected_at < NEW:
        at, account = klaviyo.connected_at, tenant.klaviyo_account_id
        # Once, in the hour of the install: a set-up runs again with a new webhook secret.
        tell(tenant, Cause.CONNECTED, services, key=at.isoformat(), hour=hour_of(at), account=account)


def tell_of_traffic(tenant: Tenant, services: Services) -> None:
    """Tell, in the first minutes of an hour, which targets are newly refused, and once a day which targets get no calls any more.

    At any other time, or without an address for messages, this reads nothing.
    """
    now = services.clock()
    if tenant.settings.notify_url is None or now.minute >= SWEPT_EVERY_MINUTES:
        return
    from shared.traffic.rules.trouble import troubles
    from shared.traffic.traffic import KEPT, Traffic

    traffic = Traffic.of(services)
    traffic.fold(tenant.name)
    spans = [(span.at, span.table) for span in traffic.spans(tenant.name, now - KEPT)]
    for trouble in troubles(spans, now):
        if not trouble.is_news(now):
            continue
        cause = Cause.TRAFFIC_REFUSED if trouble.statuses else Cause.TRAFFIC_SILENT
        about = {"target": trouble.target, "reason": trouble.message}
        tell(tenant, cause, services, key=trouble.target, hour=trouble.day_of_silence(now), **about)
