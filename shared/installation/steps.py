"""Install: the steps of a merchant's browser from Klaviyo's marketplace to a tenant with a connected account.

The tenant changes only in the last step, so a failed or foreign attempt leaves the earlier installation as it was. This module decides what
the browser gets, pages/policy.py how it is sent.
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
from shared.installation.giving_back import give_back
from shared.installation.grants import (
    CALLBACK_PATH,
    account_of,
    aged,
    check_lives,
    exchange,
    plain_tokens,
    redirect_uri,
)
from shared.installation.pending import PendingInstall, PendingInstalls, Step, attempt_of
from shared.installation.provision import start_provision, steps_of
from shared.installation.visits import GoTo, InstallRefusedError, Page, Refusal, Visit
from shared.jobs.replays import Replaying
from shared.jobs.rules.causes import MENDED_BY_INSTALL
from shared.klaviyo.grant import Account, TokenAnswer
from shared.services import Services
from shared.tenants.keys import hash_of, id_of, matches
from shared.tenants.tenants import Tenant, is_tenant_name

MERCHANT = "merchant"  # who acts, for the audit: a browser that showed an installation key or an install link
SET_UP_SECONDS = 30.0  # as a rule the set-up ends before; then the jobs that the install mends are replayed
_NO_HASHES = ("0" * 64,)


def start_page(visit: Visit, services: Services) -> Page:
    """Return the page that asks for tenant and installation key, or shows the tenant of a link. It uses nothing up."""
    text = visit.fields.get("link", "")
    if not text:
        return Page("start", {"tenant": "", "link": "", "problem": ""})
    link = read_link(text, services)
    logs.note(tenant=link.tenant)
    return Page("start", {"tenant": link.tenant, "link": text, "problem": ""})


def begin(visit: Visit, services: Services) -> Page | GoTo:
    """Let the merchant prove who they are, and send them to Klaviyo.

    Raises:
        InstallRefusedError: the form came from another site, or the link was used or has expired.
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
    # An unknown tenant takes the same path as a wrong key, and gets the same answer.
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
        # A text that cannot be a tenant's name is not shown again: it may be the key in the wrong field.
        shown = name if is_tenant_name(name) else ""
        return Page("start", {"tenant": shown, "link": "", "problem": problem}, status=401)
    services.secret_uses.note(name, id_of(hash_of(key)))
    return _authorize(name, services)


def callback(visit: Visit, services: Services) -> Page:
    """Receive Klaviyo's answer, and connect. Ask the merchant first if the tenant and the account have never been joined.

    Raises:
        InstallRefusedError: the merchant denied; the state is unknown, used, too old or of another browser; the code is missing or was
        refused.
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
    """Show again the question that is open in this browser, as after Back and Forward. It uses nothing up.

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
        # Nobody asks again with this grant. It stays if the tenant holds the account by now.
        give_back(pending.tenant, account.id, answer.refresh_token.get_secret_value(), services)
        raise


def done_page(visit: Visit, services: Services) -> Page:
    """Show again the account that this browser has connected.

    Raises:
        InstallRefusedError: this browser has connected nothing within the hour.
    """
    tenant, cookie = watched_tenant(visit, services)
    if tenant.klaviyo is None:
        raise InstallRefusedError(Refusal.UNKNOWN_STATE)
    account = tenant.klaviyo.account_name or tenant.klaviyo.account_id
    return _done(tenant, account, cookie, services)


def progress(visit: Visit, services: Services) -> list[dict[str, str]]:
    """Return the progress of the set-up that this browser began.

    Raises:
        InstallRefusedError: this browser has begun none within the hour.
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
    """Ask before a tenant and an account are joined for the first time: one forced click must not join a merchant's account to a stranger's
    tenant.
    """
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
    """Make the queues first, because a failure there changes nothing. Then store the tokens, and let the waiting jobs run."""
    now, name = services.clock(), tenant.name
    prepare_queues(tenant, services.queue)
    try:
        tenant = connect(name, answer, tenants=services.tenants, now=now, account=account)
    except DocumentMissingError as error:
        raise InstallRefusedError(Refusal.UNKNOWN_STATE) from error  # the tenant was deleted a moment ago
    services.rests.forget(
        name
    )  # Klaviyo's earlier refusals were about another account, or these tokens mend them
    try:
        # Once more: a worker with the old tokens may have paused the queue since.
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
