"""The owner of an attempt to install: the browser that began it, or the bearer of a link. Nothing is connected here."""

from contextlib import suppress

from shared import logs
from shared.errors import LinkSpentError, LinkUnreadableError
from shared.installation.links import InstallLink, InstallLinks
from shared.installation.pending import PendingInstall, PendingInstalls, Step, attempt_of
from shared.installation.visits import InstallRefusedError, Refusal, Visit
from shared.services import Services
from shared.tenants.tenants import Tenant


def take_out(step: Step, word: str, visit: Visit, services: Services) -> tuple[PendingInstall, str]:
    """Use up the install that this browser has begun. Return the install and the cookie that binds it to the browser.

    The browser is checked first, so another browser or a scanner uses nothing up.

    Raises:
        InstallRefusedError: there is no such install, or another browser began it.
    """
    installs = PendingInstalls.of(services)
    _, cookie = bound(installs.look(step, word), visit)
    pending = installs.consume(step, word)
    if pending is None:
        raise InstallRefusedError(Refusal.UNKNOWN_STATE)  # used between the two lines above
    return pending, cookie


def bound(pending: PendingInstall | None, visit: Visit) -> tuple[PendingInstall, str]:
    """Return the install and the cookie that binds it to this browser.

    Raises:
        InstallRefusedError: there is no install, or another browser began it.
    """
    if pending is None:
        raise InstallRefusedError(Refusal.UNKNOWN_STATE)
    logs.note(tenant=pending.tenant)
    cookie = pending.bound_to(visit.cookies)
    if not cookie:
        raise InstallRefusedError(Refusal.OTHER_BROWSER)
    return pending, cookie


def forget(step: Step, word: str, visit: Visit, services: Services) -> None:
    """Use up the install if this browser has begun it."""
    with suppress(InstallRefusedError):
        take_out(step, word, visit, services)


def tenant_of(pending: PendingInstall, services: Services) -> Tenant:
    """Return the tenant of an install.

    Raises:
        InstallRefusedError: the tenant has been deleted.
    """
    tenant = services.tenants.find(pending.tenant)
    if tenant is None:
        raise InstallRefusedError(Refusal.UNKNOWN_STATE)
    return tenant


def watched_tenant(visit: Visit, services: Services) -> tuple[Tenant, str]:
    """Return the tenant that one of the browser's tabs sets up, and the tab's cookie. The visit's `of` says which tab asks.

    Raises:
        InstallRefusedError: no tab of this browser has begun a set-up within the hour.
    """
    wanted, installs = visit.fields.get("of", ""), PendingInstalls.of(services)
    for cookie in visit.cookies:
        if wanted not in ("", attempt_of(cookie)):
            continue
        if (name := installs.watched(cookie)) and (tenant := services.tenants.find(name)):
            return tenant, cookie
    raise InstallRefusedError(Refusal.UNKNOWN_STATE)


def check_origin(visit: Visit, services: Services) -> None:
    """Refuse a form that another site's page has sent. Browsers name the origin of every form they post.

    Raises:
        InstallRefusedError: the form comes from elsewhere.
    """
    if visit.origin != services.settings.public_origin:
        raise InstallRefusedError(Refusal.FOREIGN_FORM)


def read_link(text: str, services: Services) -> InstallLink:
    """Return the content of a link.

    Raises:
        InstallRefusedError: the link cannot be read, was used, or its installation key was revoked.
    """
    try:
        link = InstallLinks.of(services).read(text)
    except LinkUnreadableError as error:
        raise InstallRefusedError(Refusal.LINK_UNREADABLE) from error
    except LinkSpentError as error:
        raise InstallRefusedError(Refusal.LINK_SPENT) from error
    tenant = services.tenants.find(link.tenant)
    if tenant is None or (link.key and link.key not in {key.id for key in tenant.installation_keys}):
        raise InstallRefusedError(Refusal.LINK_SPENT)
    return link


def use_link(text: str, services: Services) -> None:
    """Use a link up.

    Raises:
        InstallRefusedError: the link was used before.
    """
    try:
        InstallLinks.of(services).use(text)
    except LinkSpentError as error:
        raise InstallRefusedError(Refusal.LINK_SPENT) from error
