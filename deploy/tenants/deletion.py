"""`delete NAME`: removes the install first, and then all data of the tenant except its consent ledger."""

import click

from deploy.rehearsal import journal
from deploy.tenants.description import connection
from deploy.tenants.installation import tell_left_behind
from deploy.tenants.running import Command, confirmed, existing, found, with_services
from shared.admin.reports import StatusReports
from shared.audit import OPERATOR, Act, Audit
from shared.consent.former_identities import FormerIdentities
from shared.consent.former_numbers import FormerNumbers
from shared.consent.inbox import Inbox
from shared.consent.ledger import KEPT as LEDGER_KEPT
from shared.consent.ledger import ConsentLedger
from shared.consent.memories import ConsentMemories
from shared.consent.stamps_ahead import StampsAhead
from shared.direction import Direction
from shared.errors import (
    WaitError,
)
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.replays import Replays
from shared.metrics.backlog import Backlog
from shared.profiles.backlog import SyncBacklog
from shared.profiles.synced import SyncedProfiles
from shared.profiles.waiting import Waiting
from shared.receipts import Receipts
from shared.records.outbox import Outbox
from shared.resync.runs import Resyncs
from shared.resync.sync_imports import SyncImports
from shared.rewards.attempts import RewardAttempts
from shared.rewards.claims import RewardClaims
from shared.rewards.counts import RewardCounts
from shared.services import Services
from shared.settings import Needs
from shared.targets.unheard import UnheardCalls
from shared.tenants.erasures import Erasures
from shared.tenants.tenants import (
    Tenant,
)
from shared.traffic.traffic import Traffic


@click.command(cls=Command)
@click.argument("name", callback=existing)
@click.option("--with-ledger", is_flag=True, help="Delete the consent ledger too, which is kept otherwise.")
@click.option("--leave-install", is_flag=True, help="Do not uninstall first: nothing can do it afterwards.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_services(Needs.STORE | Needs.QUEUES | Needs.KLAVIYO_APP | Needs.PUBLIC_URL)
def delete(services: Services, name: str, *, with_ledger: bool, leave_install: bool, yes: bool) -> None:
    """Uninstall and delete tenant NAME: its queued jobs, dead jobs, consent events and records, settings and secrets.

    The consent ledger is kept, unless --with-ledger is given: if the tenant is created again, it is readable again.
    """
    if with_ledger and services.tenants.find(name) is None and services.former_tenants.ledger_key(name):
        confirmed(f"Delete the consent ledger that {name} has left?", yes=yes)
        _forget_ledger(services, name)
        click.echo(f"The consent ledger of {name} is deleted.")
        return
    tenant = found(services, name)
    ledger = "its consent ledger" if with_ledger else "everything else it has stored, the consent ledger kept"
    if left := journal.left_of(services, name):
        click.echo(
            f"A rehearsal of {name} may have left {left} test objects, whose names begin with omneo-rehearsal. Rehearse once more before you delete it: "
            "afterwards they have to be removed by hand.",
            err=True,
        )
    confirmed(f"Uninstall and delete {name} ({connection(tenant)}) and {ledger}?", yes=yes)
    if not leave_install:
        tell_left_behind(_uninstalled(tenant, services))
    _forget(services, tenant)
    if with_ledger:
        _forget_ledger(services, name)
    elif tenant.ledger_key is not None:
        services.former_tenants.keep(name, tenant.ledger_key, services.clock() + LEDGER_KEPT)
    services.tenants.delete(name)
    Audit.of(services).note(name, Act.DELETED, by=OPERATOR)
    click.echo(f"Tenant {name} is deleted.")


def _uninstalled(tenant: Tenant, services: Services) -> Tenant:
    """Remove the install, if the tenant was ever installed."""
    from shared.installation.uninstall import uninstall

    if tenant.klaviyo is None and not tenant.left_behind and not tenant.former_accounts:
        return tenant
    try:
        return uninstall(tenant, services)
    except WaitError as error:
        raise click.ClickException(
            f"Nothing was deleted, because {error}. Try again; --leave-install deletes the tenant all the same."
        ) from None


def _forget(services: Services, tenant: Tenant) -> None:
    """Forget all data of the tenant, except the tenant itself and its ledger."""
    name = tenant.name
    for direction in Direction:
        services.queue.purge(tenant, direction)
    DeadJobStore.of(services).delete_all(name)
    Replays.of(services).forget(name)
    services.secret_uses.forget(name)
    Inbox.of(services).forget(name)
    Outbox.of(services).forget(name)
    Backlog.of(services).forget(name)
    SyncBacklog.of(services).forget(name)
    SyncImports.of(services).forget(name)
    services.rests.forget(name)
    ConsentMemories.of(services).forget(name)
    FormerIdentities.of(services).forget(name)
    FormerNumbers.of(services).forget(name)
    StampsAhead.of(services).forget(name)
    SyncedProfiles.of(services).forget(name)
    Waiting.of(services).forget(name)
    Resyncs.of(services).forget(name)
    StatusReports.of(services).forget(name)
    RewardClaims.of(services).forget(name)
    RewardAttempts.of(services).forget(name)
    RewardCounts.of(services).forget(name)
    UnheardCalls.of(services).forget(name)
    Erasures(services.documents, services.clock).forget(name)
    Traffic.of(services).forget(name)
    Receipts.of(services).forget(name)
    journal.forget(services, name)


def _forget_ledger(services: Services, name: str) -> None:
    ConsentLedger.of(services).forget(name)
    services.former_tenants.forget(name)
