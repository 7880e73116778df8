"""The messages to a tenant's own address about a run over the whole base."""

from shared.notify.telling import tell_of_an_ended_run
from shared.resync.run import Run
from shared.services import Services
from shared.tenants.tenants import Tenant


def tell_of_the_end(run: Run, tenant: Tenant, services: Services) -> None:
    """Have told that the run is over: done, failed or cancelled."""
    kind, state = run.options.kind.value, run.state.value
    tell_of_an_ended_run(tenant, services, id=run.id, kind=kind, state=state, reason=run.reason)
