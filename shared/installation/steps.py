"""Install: from Klaviyo's marketplace to a tenant with a connected account, step by step of a merchant's browser.

Nothing of a tenant is touched before the last step: a failed or foreign attempt leaves the installation before it as it was. What is
sent to the browser is decided here; how, in pages/policy.py.
"""

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from shared import logs
from shared.audit import Act, Audit
from shared.direction import Direction
from shared.errors import DocumentMissingError, OwnServiceError, QueueUnavailableError
from shared.installation.attempts import (
    bound,
    check_origin,
    forget,
    read_link,
    take_out,
    tenant_of,
    use_link,
    watched_tenant,
)
from shared.installation.connecting import connect, prepare_queues
from shared.installation.grants import (
    CALLBACK_PATH,
    account_of,
    aged,
    check_lives,
    exchange,
    plain_tokens,
    redirect_uri,
)
from shared.installation.leaving import give_back
from shared.installation.pending import PendingInstall, PendingInstalls, Step, attempt_of
from shared.installation.provision import start_provision, steps_of
from shared.installation.visits import GoTo, InstallRefusedError, Page, Refusal, Visit
from shared.jobs.replays import Replaying
from shared.jobs.rules.causes import MENDED_BY_INSTALL
from shared.klaviyo.grant import Account, TokenAnswer
from shared.services import Services
from shared.tenants.keys import hash_of, id_of, matches
from shared.tenants.tenants import Tenant, is_tenant_name

MERCHANT = "merchant"  # in a browser, let in by an installation key or an install link
SET_UP_SECONDS = (
    30.0  # until the set-up is through, as a rule; jobs that the install mends are replayed after it
)
_NO_HASHES = ("0" * 64,)


def start_page(visit: Visit, services: Services) -> Page:
    """Ask for tenant and installation key, or show whose install a link starts. Uses nothing up."""
    text = visit.fields.get("link", "")
    if not text:
        return Page("start", {"tenant": "", "link": "", "problem": ""})
    link = read_link(text, services)
    logs.note(tenant=link.tenant)
    return Page("start", {"tenant": link.tenant, "link": text, "problem": ""})


def begin(visit: Visit, services: Services) -> Page | GoTo:
    """Let the merchant prove who they are, and send them to Klaviyo.

    Raises:
        InstallRefusedError: the form came from elsewhere, or the link is spent.
    """
    check_origin(visit, services)
    if text := visit.fields.get("link"):
        link = read_link(text, services)
        use_link(text, services)
        return _authorize(link.tenant, services)
    name = visit.fields.get("tenant", "").strip().lower()
    if is_tenant_name(name):
        logs.note(tenant=name)
    tenant = services.tenants.find(name) if is_tenant_name(name) else None
    # An unknown tenant takes the same path as a wrong key, and hears the same.
    hashes = [key.hash for key in tenant.installation_keys] if tenant else _NO_HASHES
    key = visit.fields.get("installation_key", "").strip()
    if not matches(key, hashes) or tenant is None:
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
    services.secret_uses.note(name, id_of(hash_of(key)))
    return _authorize(name, services)


def callback(visit: Visit, services: Services) -> Page:
    """Receive Klaviyo's answer, and connect, or ask first where the two have not been joined before.

    Raises:
        InstallRefusedError: denied; state unknown, used, too old or another browser's; code missing; exchange failed.
    """
    if visit.is_ahead:
        raise InstallRefusedError(Refusal.PREFETCHED)  # a state and a code work once
    if error := visit.fields.get("error"):
        forget(Step.AUTHORIZE, visit.fields.get("state", ""), visit, services)
        raise InstallRefusedError(
            Refusal.DENIED if error == "access_denied" else Refusal.KLAVIYO_REFUSED, reason=error
        )
    pending, cookie = take_out(Step.AUTHORIZE, visit.fields.get("state", ""), visit, services)
    code = visit.fields.get("code", "")
    if not code:
        raise InstallRefusedError(Refusal.MISSING_CODE)
    answer = exchange(code, str(pending.kept["verifier"]), services)
    account = account_of(answer, pending, services)
    try:
        tenant = tenant_of(pending, services)
    except InstallRefusedError:
        give_back(pending.tenant, account.id, answer.refresh_token.get_secret_value(), services)
        raise
    if tenant.klaviyo_account_id == account.id:
        return _connect(tenant, answer, account, cookie, services)
    return _ask(tenant, answer, account, cookie, services)


def question(visit: Visit, services: Services) -> Page:
    """Show the question again that is open in this browser, as after Back and Forward. Uses nothing up.

    Raises:
        InstallRefusedError: no such question is open in this browser.
    """
    word = visit.fields.get("confirmation", "")
    pending, _ = bound(PendingInstalls.of(services).look(Step.CONFIRM, word), visit)
    tenant = tenant_of(pending, services)
    return _question(tenant, Account.model_validate(pending.kept["account"]), word, services)


def confirm(visit: Visit, services: Services) -> Page:
    """Connect after the merchant's yes. After a no, the grant that Klaviyo gave is given back.

    Raises:
        InstallRefusedError: no such question is open in this browser, or the answer was no.
    """
    check_origin(visit, services)
    pending, _ = take_out(Step.CONFIRM, visit.fields.get("confirmation", ""), visit, services)
    answer = aged(TokenAnswer.model_validate(pending.kept["tokens"]), pending.kept["exchanged_at"], services)
    account = Account.model_validate(pending.kept["account"])
    try:
        return _answered(visit, pending, answer, account, services)
    except (InstallRefusedError, OwnServiceError):
        # Nobody asks again with this grant. Where the tenant holds the account by now, it stays.
        give_back(pending.tenant, account.id, answer.refresh_token.get_secret_value(), services)
        raise


def done_page(visit: Visit, services: Services) -> Page:
    """Show again what this browser has connected.

    Raises:
        InstallRefusedError: it has connected nothing, or more than an hour ago.
    """
    tenant, cookie = watched_tenant(visit, services)
    if tenant.klaviyo is None:
        raise InstallRefusedError(Refusal.UNKNOWN_STATE)
    account = tenant.klaviyo.account_name or tenant.klaviyo.account_id
    return _done(tenant, account, cookie, services)


def progress(visit: Visit, services: Services) -> list[dict[str, str]]:
    """Return how far the set-up is that this browser began.

    Raises:
        InstallRefusedError: it began none, or more than an hour ago.
    """
    tenant, _ = watched_tenant(visit, services)
    logs.note(tenant=tenant.name)
    return steps_of(tenant)


def _authorize(tenant: str, services: Services) -> GoTo:
    logs.note(tenant=tenant)
    cookie, verifier = services.new_word(), services.new_word()
    state = PendingInstalls.of(services).issue(
        Step.AUTHORIZE, tenant, cookie=cookie, kept={"verifier": verifier}
    )
    url = services.klaviyo_oauth.authorize_url(
        services.settings.klaviyo_authorize_url,
        redirect_uri=redirect_uri(services),
        state=state,
        verifier=verifier,
    )
    return GoTo(url, cookie)


def _answered(
    visit: Visit, pending: PendingInstall, answer: TokenAnswer, account: Account, services: Services
) -> Page:
    tenant = tenant_of(pending, services)
    if visit.fields.get("decision") != "connect":
        raise InstallRefusedError(Refusal.CANCELLED)
    check_lives(answer, services)
    return _connect(tenant, answer, account, pending.bound_to(visit.cookies), services)


def _ask(tenant: Tenant, answer: TokenAnswer, account: Account, cookie: str, services: Services) -> Page:
    """Ask before two are joined that were not: one forced click must not join a merchant's account to a stranger's tenant."""
    kept = {
        "tokens": plain_tokens(answer),
        "account": account.model_dump(),
        "exchanged_at": services.clock().isoformat(),
    }
    confirmation = PendingInstalls.of(services).issue(
        Step.CONFIRM, tenant.name, cookie=cookie, kept=kept, account=account.id
    )
    return _question(tenant, account, confirmation, services)


def _question(tenant: Tenant, account: Account, confirmation: str, services: Services) -> Page:
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
    services.rests.forget(name)  # what Klaviyo refused was another account's, or these tokens mend it
    try:
        # Again: a worker that still met the old tokens may have paused it since.
        services.queue.resume(tenant, Direction.OUTBOUND)
        start_provision(tenant, services)
        for cause in MENDED_BY_INSTALL:
            Replaying.of(services).begin_held(tenant, cause, after=SET_UP_SECONDS)
    except QueueUnavailableError as error:
        raise InstallRefusedError(Refusal.QUEUES_FAILED) from error
    PendingInstalls.of(services).watch(cookie, name)
    Audit.of(services).note(name, Act.INSTALLED, by=MERCHANT, about=f"Klaviyo account {account.id}")
    return _done(tenant, account.name or account.id, cookie, services)


def _done(tenant: Tenant, account: str, cookie: str, services: Services) -> Page:
    return Page(
        "done",
        {
            "tenant": tenant.name,
            "account": account,
            "attempt": attempt_of(cookie),
            "steps": steps_of(tenant),
            "manager_url": services.settings.omneo_manager_url.replace("{tenant}", tenant.name),
        },
    )


Handler: TypeAlias = Callable[[Visit, Services], Page | GoTo | list[dict[str, str]]]
ROUTES: Mapping[tuple[str, str], Handler] = MappingProxyType(
    {
        ("GET", "/klaviyo/install"): start_page,
        ("POST", "/klaviyo/install"): begin,
        ("GET", CALLBACK_PATH): callback,
        ("GET", "/klaviyo/confirm"): question,
        ("POST", "/klaviyo/confirm"): confirm,
        ("GET", "/klaviyo/done"): done_page,
        ("GET", "/klaviyo/progress"): progress,
    }
)
