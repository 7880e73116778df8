"""The worker's messages to a tenant's own address."""

from datetime import timedelta

from shared.notify.telling import Cause, hour_of, tell
from shared.services import Services
from shared.tenants.tenants import Tenant

# A set-up that runs so long after an install is about something else, as a new webhook secret is.
NEW = timedelta(hours=1)
SWEPT_EVERY_MINUTES = 5  # as the schedule of sweep-inbox says


def tell_of_an_outage(tenant: Tenant, services: Services) -> None:
    """Tell that the Klaviyo account is disconnected, if it is."""
    if tenant.klaviyo is not None and tenant.klaviyo.disconnected:
        tell(tenant, Cause.DISCONNECTED, services, reason=tenant.klaviyo.disconnected_reason)


def tell_of_a_new_connection(tenant: Tenant, services: Services) -> None:
    """Tell that a Klaviyo account is connected, by an install that is not long ago."""
    klaviyo = tenant.klaviyo
    if klaviyo is not None and services.clock() - klaviyo.connected_at < NEW:
        at, account = klaviyo.connected_at, tenant.klaviyo_account_id
        # Once, in the hour of the install: a set-up runs again with a new webhook secret.
        tell(tenant, Cause.CONNECTED, services, key=at.isoformat(), hour=hour_of(at), account=account)


def tell_of_traffic(tenant: Tenant, services: Services) -> None:
    """Tell which targets are refused, or have fallen silent, in the first minutes of an hour: what is new in it, and silence once a day.

    Nothing is read at another time, or where nobody is to be told.
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
