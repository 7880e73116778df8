"""Install: from Klaviyo's marketplace to a tenant with a connected account, step by step of a merchant's browser.

Nothing of a tenant is touched before the last step: a failed or foreign attempt leaves the installation before it as it was. What is
sent to the browser is decided here; how, in pages/policy.py.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias

from pydantic import SecretStr

from shared import logs
from shared.audit import Act, Audit
from shared.direction import Direction
from shared.errors import (
    DocumentMissingError,
    ExtensionError,
    GrantRefusedError,
    LinkSpentError,
    LinkUnreadableError,
    QueueUnavailableError,
    ServiceError,
    WaitError,
)
from shared.installation.links import InstallLinks
from shared.installation.pending import PendingInstall, PendingInstalls, Step
from shared.installation.provision import start_provision, steps_of
from shared.jobs.queue import TaskQueue
from shared.klaviyo.client import Account
from shared.klaviyo.oauth import TokenAnswer
from shared.services import Services
from shared.tenants.keys import matches
from shared.tenants.tenants import KlaviyoConnection, Provisions, Tenant, TenantStore, is_tenant_name

CALLBACK_PATH = "/klaviyo/callback"
OUTAGES_KEPT = 20
MERCHANT = "merchant"  # in a browser, let in by an installation key or an install link
_NO_HASHES = ("0" * 64,)


class Refusal(StrEnum):
    """Why an install stops here."""

    FOREIGN_FORM = "foreign_form"
    LINK_UNREADABLE = "link_unreadable"
    LINK_SPENT = "link_spent"
    DENIED = "denied"
    UNKNOWN_STATE = "unknown_state"
    OTHER_BROWSER = "other_browser"
    MISSING_CODE = "missing_code"
    EXCHANGE_FAILED = "exchange_failed"
    KLAVIYO_DOWN = "klaviyo_down"
    QUEUES_FAILED = "queues_failed"
    CANCELLED = "cancelled"


class InstallRefusedError(ExtensionError):
    """The install stops; `refusal` says why. The merchant may start again."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


@dataclass(frozen=True)
class Visit:
    """What a merchant's browser sends: the fields of a query or a form, our cookie, and where a form came from."""

    fields: Mapping[str, str]
    cookie: str
    origin: str


@dataclass(frozen=True)
class Page:
    """A page to show: a template of `shared/pages` and what is on it."""

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True)
class GoTo:
    """An address to send the browser to, with a cookie that binds it."""

    url: str
    cookie: str


def start_page(visit: Visit, services: Services) -> Page:
    """Ask for tenant and installation key, or show whose install a link starts. Uses nothing up."""
    text = visit.fields.get("link", "")
    if not text:
        return Page("start", {"tenant": "", "link": "", "problem": ""})
    link = _readable(lambda: InstallLinks.of(services).read(text).tenant)
    logs.note(tenant=link)
    return Page("start", {"tenant": link, "link": text, "problem": ""})


def begin(visit: Visit, services: Services) -> Page | GoTo:
    """Let the merchant prove who they are, and send them to Klaviyo.

    Raises:
        InstallRefusedError: the form came from elsewhere, or the link is spent.
    """
    _check_origin(visit, services)
    if text := visit.fields.get("link"):
        return _authorize(_readable(lambda: InstallLinks.of(services).use(text).tenant), services)
    name = visit.fields.get("tenant", "").strip().lower()
    if is_tenant_name(name):
        logs.note(tenant=name)
    tenant = services.tenants.find(name) if is_tenant_name(name) else None
    # An unknown tenant takes the same path as a wrong key, and hears the same.
    hashes = [key.hash for key in tenant.installation_keys] if tenant else _NO_HASHES
    if not matches(visit.fields.get("installation_key", "").strip(), hashes) or tenant is None:
        problem = (
            "This name and key do not belong together. Check both, or ask your Omneo contact for a new key."
        )
        logs.write(
            logging.WARNING,
            "installation key refused",
            reason="there is no such tenant" if tenant is None else "the key is wrong",
        )
        # What is no name is not shown again: it may be the key, in the wrong field.
        shown = name if is_tenant_name(name) else ""
        return Page("start", {"tenant": shown, "link": "", "problem": problem}, status=401)
    return _authorize(name, services)


def callback(visit: Visit, services: Services) -> Page:
    """Receive Klaviyo's answer, and connect, or ask first where the two have not been joined before.

    Raises:
        InstallRefusedError: denied; state unknown, used, too old or another browser's; code missing; exchange failed.
    """
    pending = PendingInstalls.of(services).consume(Step.AUTHORIZE, visit.fields.get("state", ""))
    if "error" in visit.fields:
        denied = visit.fields["error"] == "access_denied"
        raise InstallRefusedError(Refusal.DENIED if denied else Refusal.EXCHANGE_FAILED)
    pending = _ours(pending, visit)
    code = visit.fields.get("code", "")
    if not code:
        raise InstallRefusedError(Refusal.MISSING_CODE)
    answer = _exchange(code, str(pending.kept["verifier"]), services)
    account = _account_of(answer, services)
    tenant = services.tenants.find(pending.tenant)
    if tenant is None:
        raise InstallRefusedError(Refusal.UNKNOWN_STATE)
    if tenant.klaviyo_account_id == account.id:
        return _connect(tenant, answer, account, visit.cookie, services)
    return _ask(tenant, answer, account, visit.cookie, services)


def confirm(visit: Visit, services: Services) -> Page:
    """Connect after the merchant's yes.

    Raises:
        InstallRefusedError: no such question is open in this browser, or the answer was no.
    """
    _check_origin(visit, services)
    pending = _ours(
        PendingInstalls.of(services).consume(Step.CONFIRM, visit.fields.get("confirmation", "")), visit
    )
    if visit.fields.get("decision") != "connect":
        raise InstallRefusedError(Refusal.CANCELLED)
    tenant = services.tenants.find(pending.tenant)
    if tenant is None:
        raise InstallRefusedError(Refusal.UNKNOWN_STATE)
    answer = _aged(TokenAnswer.model_validate(pending.kept["tokens"]), pending.kept["exchanged_at"], services)
    account = Account.model_validate(pending.kept["account"])
    return _connect(tenant, answer, account, visit.cookie, services)


def progress(visit: Visit, services: Services) -> list[dict[str, str]]:
    """Return how far the set-up is that this browser began.

    Raises:
        InstallRefusedError: it began none, or more than an hour ago.
    """
    name = PendingInstalls.of(services).watched(visit.cookie)
    tenant = services.tenants.find(name) if name else None
    if tenant is None:
        raise InstallRefusedError(Refusal.UNKNOWN_STATE)
    logs.note(tenant=tenant.name)
    return steps_of(tenant)


def connect(
    name: str, answer: TokenAnswer, *, tenants: TenantStore, now: datetime, account: Account | None = None
) -> Tenant:
    """Store the tokens of a Klaviyo account as the tenant's; whatever had disconnected it is over.

    What an install has made is remembered for as long as the account stays the same.

    Raises:
        DocumentMissingError: there is no such tenant.
    """
    account = account or Account.model_construct(id="")

    def edit(tenant: Tenant) -> Tenant:
        same = account.id == tenant.klaviyo_account_id
        made = tenant.provisions if same else Provisions()
        outages = tuple(
            outage if outage.ended else outage.model_copy(update={"ended": now}) for outage in tenant.outages
        )
        return tenant.model_copy(
            update={
                "klaviyo": _connection(answer, account, now),
                "klaviyo_account_id": account.id,
                "provisions": made.model_copy(update={"steps": {}}),
                "outages": outages[-OUTAGES_KEPT:],
                "heal_from": (tenant.heal_from if same else None) or now,
            }
        )

    return tenants.change(name, edit)


def prepare_queues(tenant: Tenant, queue: TaskQueue) -> None:
    """Make the tenant's queues and let them run, so that jobs that waited for this install go on.

    Raises:
        QueueUnavailableError: not now; asking again is safe.
    """
    queue.ensure(tenant)


def _authorize(tenant: str, services: Services) -> GoTo:
    logs.note(tenant=tenant)
    cookie, verifier = services.new_word(), services.new_word()
    state = PendingInstalls.of(services).issue(
        Step.AUTHORIZE, tenant, cookie=cookie, kept={"verifier": verifier}
    )
    url = services.klaviyo_oauth.authorize_url(
        services.settings.klaviyo_authorize_url,
        redirect_uri=_redirect_uri(services),
        state=state,
        verifier=verifier,
    )
    return GoTo(url, cookie)


def _ours(pending: PendingInstall | None, visit: Visit) -> PendingInstall:
    if pending is None:
        raise InstallRefusedError(Refusal.UNKNOWN_STATE)
    logs.note(tenant=pending.tenant)
    if not pending.is_bound_to(visit.cookie):
        raise InstallRefusedError(Refusal.OTHER_BROWSER)
    return pending


def _exchange(code: str, verifier: str, services: Services) -> TokenAnswer:
    try:
        return services.klaviyo_oauth.exchange(code, redirect_uri=_redirect_uri(services), verifier=verifier)
    except GrantRefusedError as error:
        raise InstallRefusedError(Refusal.EXCHANGE_FAILED) from error
    except WaitError as error:
        raise InstallRefusedError(Refusal.KLAVIYO_DOWN) from error


def _account_of(answer: TokenAnswer, services: Services) -> Account:
    try:
        return services.klaviyo_with(answer.access_token).account()
    except ServiceError as error:
        raise InstallRefusedError(Refusal.KLAVIYO_DOWN) from error


def _aged(answer: TokenAnswer, exchanged_at: object, services: Services) -> TokenAnswer:
    """Return the tokens with the life that is left of them now: the merchant may have taken minutes to say yes."""
    gone = services.clock() - datetime.fromisoformat(str(exchanged_at))
    return answer.model_copy(update={"expires_in": answer.expires_in - int(gone.total_seconds())})


def _ask(tenant: Tenant, answer: TokenAnswer, account: Account, cookie: str, services: Services) -> Page:
    """Ask before two are joined that were not: one forced click must not join a merchant's account to a stranger's tenant."""
    kept = {
        "tokens": {
            "access_token": answer.access_token.get_secret_value(),
            "refresh_token": answer.refresh_token.get_secret_value(),
            "expires_in": answer.expires_in,
            "scope": answer.scope,
        },
        "account": account.model_dump(),
        "exchanged_at": services.clock().isoformat(),
    }
    confirmation = PendingInstalls.of(services).issue(Step.CONFIRM, tenant.name, cookie=cookie, kept=kept)
    return Page(
        "confirm",
        {
            "tenant": tenant.name,
            "account": account.name or account.id,
            "account_id": account.id,
            "before": tenant.klaviyo_account_id,
            "shared_with": [name for name in services.tenants.holding(account.id) if name != tenant.name],
            "confirmation": confirmation,
        },
    )


def _connect(tenant: Tenant, answer: TokenAnswer, account: Account, cookie: str, services: Services) -> Page:
    """Make the queues, which may fail and change nothing; then the tokens count, and what waited for them may run."""
    now, name = services.clock(), tenant.name
    prepare_queues(tenant, services.queue)
    try:
        tenant = connect(name, answer, tenants=services.tenants, now=now, account=account)
    except DocumentMissingError as error:
        raise InstallRefusedError(Refusal.UNKNOWN_STATE) from error  # deleted in this very moment
    try:
        # Again: a worker that still met the old tokens may have paused it since.
        services.queue.resume(tenant, Direction.OUTBOUND)
        start_provision(tenant, services)
    except QueueUnavailableError as error:
        raise InstallRefusedError(Refusal.QUEUES_FAILED) from error
    PendingInstalls.of(services).watch(cookie, name)
    Audit.of(services).note(name, Act.INSTALLED, by=MERCHANT, about=f"Klaviyo account {account.id}")
    return Page(
        "done",
        {
            "tenant": name,
            "account": account.name or account.id,
            "steps": steps_of(tenant),
            "manager_url": services.settings.omneo_manager_url.replace("{tenant}", name),
        },
    )


def _connection(answer: TokenAnswer, account: Account, now: datetime) -> KlaviyoConnection:
    return KlaviyoConnection(
        access_token=SecretStr(answer.access_token.get_secret_value()),
        refresh_token=SecretStr(answer.refresh_token.get_secret_value()),
        expires_at=now + timedelta(seconds=answer.expires_in),
        scope=answer.scope,
        account_id=account.id,
        account_name=account.name,
        account_timezone=account.timezone,
        account_country=account.country,
        connected_at=now,
    )


def _check_origin(visit: Visit, services: Services) -> None:
    """Refuse a form that another site's page has sent. Browsers name the origin of every form they post."""
    if visit.origin != services.settings.public_origin:
        raise InstallRefusedError(Refusal.FOREIGN_FORM)


def _readable(read: Callable[[], str]) -> str:
    try:
        return read()
    except LinkUnreadableError as error:
        raise InstallRefusedError(Refusal.LINK_UNREADABLE) from error
    except LinkSpentError as error:
        raise InstallRefusedError(Refusal.LINK_SPENT) from error


def _redirect_uri(services: Services) -> str:
    return f"{services.settings.public_url}{CALLBACK_PATH}"


Handler: TypeAlias = Callable[[Visit, Services], Page | GoTo | list[dict[str, str]]]
ROUTES: Mapping[tuple[str, str], Handler] = MappingProxyType(
    {
        ("GET", "/klaviyo/install"): start_page,
        ("POST", "/klaviyo/install"): begin,
        ("GET", CALLBACK_PATH): callback,
        ("POST", "/klaviyo/confirm"): confirm,
        ("GET", "/klaviyo/progress"): progress,
    }
)
