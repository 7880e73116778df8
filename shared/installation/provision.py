"""Provision: makes everything that an install needs in Klaviyo and Omneo. However often it runs, there is exactly one of each thing.

Each step looks, under a lease, before it makes anything, and notes its result. So an install that was killed after any step is finished by
the next run. A step that Klaviyo or Omneo refuses is noted as failed, and the others go on.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache, partial
from typing import TYPE_CHECKING

from shared.errors import NotFoundError, RefusedError, WaitError
from shared.http.forbidden import what_mends
from shared.http.words import without_values
from shared.jobs.jobs import Provision
from shared.klaviyo.data_sources import made_data_source
from shared.klaviyo.resources import (
    DATA_SOURCES,
    OMNEO_TRIGGERS,
    SYSTEM_TOPICS,
    omneo_webhook_path,
    system_webhook_path,
    webhook_name,
)
from shared.tenants.tenants import Provisions, ProvisionStep, StepState, Tenant, TenantStore

if TYPE_CHECKING:
    from shared.klaviyo.client import KlaviyoClient
    from shared.omneo.client import OmneoClient
    from shared.services import Services
    from shared.storage.leases import Leases

LEASE = timedelta(minutes=5)  # as long as a worker may run
ANOTHER_RUNS_SECONDS = 5.0

WEBHOOK = "webhook"

# In plain words: the merchant reads them on the page after the install.
_OF_OMNEO = {
    "profile.created": "New customers from Omneo",
    "profile.updated": "Changed customers from Omneo",
    "profile.deleted": "Deleted customers from Omneo",
}


def provision(
    tenant: Tenant,
    *,
    klaviyo: "KlaviyoClient",
    omneo: "OmneoClient",
    tenants: TenantStore,
    leases: "Leases",
    public_url: str,
) -> None:
    """Do every step that waits. `again` sets steps that were done or have failed to waiting.

    Raises:
        WaitError: another run works, a service asks to wait, or the tenant was changed meanwhile; steps that are done stay noted.
    """
    lease = leases.acquire(tenant.setup_lease, lasting=LEASE)
    if lease is None:
        raise WaitError(
            "another set-up is running", service="The extension", retry_after=ANOTHER_RUNS_SECONDS
        )
    try:
        for name, step in _todo(tenant, klaviyo, omneo, public_url):
            if _state(tenant, name) is StepState.WAITING:
                tenant = _take(name, step, tenant, tenants)
    finally:
        leases.release(lease)


def start_provision(tenant: Tenant, services: "Services") -> None:
    """Queue a run.

    Raises:
        QueueUnavailableError: the queue did not take it.
    """
    job = Provision(tenant=tenant.name, id=services.new_id(), accepted_at=services.clock())
    services.queue.put(job, tenant)


def again(tenant: Tenant, *names: str) -> Tenant:
    """Return the tenant with these steps, or all steps if none is named, set to waiting."""
    made = tenant.provisions
    steps = {name: step for name, step in made.steps.items() if names and name not in names}
    return tenant.model_copy(update={"provisions": made.model_copy(update={"steps": steps})})


def steps_of(tenant: Tenant) -> list[dict[str, str]]:
    """Return every step with its title, state and, if it failed, the reason."""
    return [
        {"name": name, "title": title, "state": step.state.value, "reason": step.reason}
        for name, title in _titles()
        for step in [tenant.provisions.steps.get(name, ProvisionStep())]
    ]


Done = Callable[[Provisions], Provisions]
StepWork = Callable[[Tenant], Done]


def _titles() -> Iterator[tuple[str, str]]:
    yield from ((f"data source {title}", f"Data source {title}") for title in DATA_SOURCES)
    yield WEBHOOK, "Sign-ups and unsubscribes from Klaviyo"
    yield from ((f"omneo webhook {trigger}", _OF_OMNEO[trigger]) for trigger in OMNEO_TRIGGERS)


def _todo(
    tenant: Tenant, klaviyo: "KlaviyoClient", omneo: "OmneoClient", public_url: str
) -> Iterator[tuple[str, StepWork]]:
    """Yield the steps in order. A look-up that several steps need is made once, when the first step needs it."""
    found = cache(klaviyo.data_sources)
    for title, description in DATA_SOURCES.items():
        yield (
            f"data source {title}",
            partial(_data_source, title=title, description=description, klaviyo=klaviyo, found=found),
        )
    yield WEBHOOK, partial(_system_webhook, klaviyo=klaviyo, public_url=public_url)
    url = public_url + omneo_webhook_path(tenant.name)
    for trigger in OMNEO_TRIGGERS:
        yield f"omneo webhook {trigger}", partial(_omneo_webhook, trigger=trigger, url=url, omneo=omneo)


def _take(name: str, step: StepWork, tenant: Tenant, tenants: TenantStore) -> Tenant:
    """Do one step and note its result."""
    try:
        done, outcome = step(tenant), ProvisionStep(state=StepState.DONE)
    except RefusedError as error:
        done, outcome = _unchanged, ProvisionStep(state=StepState.FAILED, reason=_plainly(error))

    def edit(now: Tenant) -> Tenant:
        if _basis(now) != _basis(tenant):
            # Something that was made for the former account or secret must not count for the new one.
            raise WaitError(
                "the account or the webhook secret was changed meanwhile", service="The extension"
            )
        made = done(now.provisions)
        steps = {**made.steps, name: outcome}
        return now.model_copy(update={"provisions": made.model_copy(update={"steps": steps})})

    return tenants.change(tenant.name, edit)


def _data_source(
    tenant: Tenant,
    *,
    title: str,
    description: str,
    klaviyo: "KlaviyoClient",
    found: Callable[[], dict[str, str]],
) -> Done:
    """Find the data source by its title, or make it."""
    id = found().get(title) or made_data_source(title, description, klaviyo)
    return lambda made: made.model_copy(update={"data_sources": {**made.data_sources, title: id}})


def _system_webhook(tenant: Tenant, *, klaviyo: "KlaviyoClient", public_url: str) -> Done:
    """Find our webhook by its stored id, or by its name if there is no id. Then give it our secret, topics and address, and enable it."""
    name, url = webhook_name(tenant.name), public_url + system_webhook_path(tenant.name)
    topics = SYSTEM_TOPICS & klaviyo.webhook_topics()
    if not topics:
        raise RefusedError("The Klaviyo account offers no consent events", service="Klaviyo")
    secret = tenant.webhook_secrets[0].value
    ours = [
        hook.id for hook in klaviyo.webhooks() if hook.name == name or hook.id == tenant.provisions.webhook_id
    ]
    ours.sort(key=lambda id: id != tenant.provisions.webhook_id)
    id, *surplus = ours or [""]
    for other in surplus:
        _is_there(partial(klaviyo.delete_webhook, other))
    if not (id and _is_there(partial(klaviyo.update_webhook, id, name, url, secret, topics))):
        id = klaviyo.create_webhook(name, url, secret, topics)
    return lambda made: made.model_copy(update={"webhook_id": id})


def _omneo_webhook(tenant: Tenant, *, trigger: str, url: str, omneo: "OmneoClient") -> Done:
    """Find the webhook by namespace and trigger, or make a disabled one. A webhook that a person has enabled stays enabled."""
    ours = [hook for hook in omneo.webhooks(tenant.settings.namespace) if hook.trigger == trigger]
    if not ours:
        omneo.create_webhook(trigger, url, tenant.settings.namespace)
    elif all(hook.url != url for hook in ours):  # Omneo refuses a second one for the same trigger and URL
        omneo.update_webhook_url(ours[0].id, url)
    return _unchanged


def _is_there(change: Callable[[], None]) -> bool:
    """Change something that was listed a moment ago, and return whether it still existed."""
    try:
        change()
    except NotFoundError:
        return False
    return True


def _plainly(error: RefusedError) -> str:
    """Return what a merchant can do about a refusal."""
    if error.status == 403:
        said = without_values(error.detail)
        return " ".join(filter(None, (f"{error.service} does not allow it.", said, what_mends(error))))
    return f"{error}. Installing again may help; if it does not, ask your Omneo contact."


def _basis(tenant: Tenant) -> tuple[object, ...]:
    return tenant.klaviyo_account_id, tenant.webhook_secrets[:1]


def _unchanged(made: Provisions) -> Provisions:
    return made


def _state(tenant: Tenant, name: str) -> StepState:
    return tenant.provisions.steps.get(name, ProvisionStep()).state
