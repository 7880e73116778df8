"""The master list: every profile that is subscribed to email stands on one Klaviyo list, however it was subscribed.

Omneo's page "Master list". This is the only call to Klaviyo that a system webhook causes, so it carries our mark and is remembered.
Otherwise it would come back as a new event, and a decision of the customer while the call is under way would be lost.
"""

import logging
from typing import TYPE_CHECKING

from shared import logs
from shared.consent.asking import AskedConsent, Asking
from shared.consent.looks import look_after_a_call
from shared.consent.rules.decisions import KlaviyoEmail
from shared.consent.rules.memory import Memory
from shared.consent.rules.results import last_word
from shared.consent_events import Consent
from shared.errors import CannotSucceedError, NotFoundError, RefusedError
from shared.jobs.jobs import KeepMasterList
from shared.jobs.rules.causes import Cause
from shared.matching import omneo_profile_of
from shared.services import Services
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.klaviyo.profiles import KlaviyoProfile

_NO_LIST = "Klaviyo has no list with the id in the setting master_list_id. Once one is set that is there, this job goes on by itself."
# A subscribe call would lift these. Each is a person's "no", which the extension must not take back.
_LIFTED = frozenset({"UNSUBSCRIBE", "SPAM_COMPLAINT", "SPAM_REPORT", "USER_SUPPRESSED"})


def keep_master_list(job: KeepMasterList, tenant: Tenant, services: Services) -> None:
    """Subscribe the Klaviyo profile to the master list if it is subscribed to email now and not yet a member.

    Raises:
        CannotSucceedError: Klaviyo does not know the list.
        ServiceError, DisconnectedError: Klaviyo refused, or could not answer.
    """
    list_id = tenant.settings.master_list_id
    if not list_id or tenant.klaviyo is None:
        return  # the setting was taken back meanwhile, or the tenant uninstalled
    klaviyo = services.klaviyo(tenant)
    # The consent of this moment, not of the event's: a subscribe here must not undo a later unsubscribe.
    profile = klaviyo.profile(job.profile)
    if profile is None or not profile.email or not _is_wanted(profile, list_id):
        logs.write(logging.INFO, "master list left alone, the profile is not subscribed or has left")
        return
    try:
        if klaviyo.is_on_list(list_id, profile.email):
            return
    except NotFoundError:
        # One cause for all: the desk holds them together, and they go on once the setting names a list that is there.
        raise CannotSucceedError(_NO_LIST, cause=Cause.MASTER_LIST) from None
    profile_id = job.omneo_profile_id or _omneo_id(job, tenant, services, profile)
    given_at = KlaviyoEmail.read(profile.subscriptions).changed_at
    asked = AskedConsent(profile_id, profile.id, Consent.EMAIL, "in", given_at)
    asking = Asking(tenant, services)
    if not profile_id or not asking.begin(asked, _while_in):
        logs.write(logging.INFO, "master list left alone, the profile has opted out since")
        return
    look_after_a_call(tenant, profile_id, services, traceparent=job.traceparent)
    try:
        klaviyo.subscribe_to_email(profile, list_id)
    except RefusedError:
        asking.refused(asked)
        raise
    asking.accepted(asked)
    logs.write(logging.INFO, "subscribed to the master list")


def _omneo_id(job: KeepMasterList, tenant: Tenant, services: Services, profile: "KlaviyoProfile") -> str:
    """Return the Omneo profile's id, which a job that an older revision has queued does not name; "" if there is none."""
    found = omneo_profile_of(
        job.profile,
        handle=tenant.settings.identity_handle,
        omneo=services.omneo(tenant),
        klaviyo=lambda: profile,
    )
    return "" if found is None else found.id


def _while_in(memory: Memory) -> Memory | None:
    word = last_word(memory)
    return memory if word is None or word.direction == "in" else None


def _is_wanted(profile: "KlaviyoProfile", list_id: str) -> bool:
    """Return whether the person is subscribed, has not unsubscribed from all email, and has not left this list."""
    email = KlaviyoEmail.read(profile.subscriptions)
    return email.is_subscribed and not _LIFTED & (email.suppressions | profile.reasons_off(list_id))
