"""The master list: whoever is subscribed to email stands on one Klaviyo list, however they subscribed.

Omneo's page "Master list". This is the one thing that a system webhook sends back to Klaviyo, so it carries our mark and is noted: else it
would come back as news.
"""

import logging
from typing import TYPE_CHECKING

from shared import logs
from shared.consent.echo_notes import EchoNotes
from shared.consent.rules.decisions import KlaviyoEmail
from shared.consent_events import Channel
from shared.jobs.jobs import KeepMasterList
from shared.services import Services
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.klaviyo.profiles import KlaviyoProfile

# What a subscribe call lifts. Each is somebody's "no", and not ours to take back.
_LIFTED = frozenset({"UNSUBSCRIBE", "SPAM_COMPLAINT", "SPAM_REPORT", "USER_SUPPRESSED"})


def keep_master_list(job: KeepMasterList, tenant: Tenant, services: Services) -> None:
    """Subscribe the Klaviyo profile to the master list if it is subscribed to email now and not yet a member.

    Raises:
        ServiceError, DisconnectedError: what Klaviyo answered.
    """
    list_id = tenant.settings.master_list_id
    if not list_id or tenant.klaviyo is None:
        return  # the setting was taken back meanwhile, or the tenant uninstalled
    klaviyo = services.klaviyo(tenant)
    # As it is now, not as it was when the event came: a subscribe here must not undo an unsubscribe since.
    profile = klaviyo.profile(job.profile)
    if profile is None or not profile.email or not _is_wanted(profile, list_id):
        logs.write(logging.INFO, "master list left alone, the profile is not subscribed or has left")
        return
    if klaviyo.is_on_list(list_id, profile.email):
        return
    EchoNotes.of(services).note(tenant.name, profile.id, Channel.EMAIL, "in")
    klaviyo.subscribe_to_email(profile, list_id)
    logs.write(logging.INFO, "subscribed to the master list")


def _is_wanted(profile: "KlaviyoProfile", list_id: str) -> bool:
    """Return whether the person is subscribed and has left neither all email nor this list."""
    email = KlaviyoEmail.read(profile.subscriptions)
    return email.is_subscribed and not _LIFTED & (email.suppressions | profile.reasons_off(list_id))
