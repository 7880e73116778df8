"""A tenant whose consent comes in from Klaviyo: people who act in the sandbox, the webhook, the queue, and the result
in Omneo.

`Retailer` goes through all parts. `Inflow` drives only the handlers, over a queue that is a list, for tests that need
many runs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import Any

from flask import Flask, Response, request

from deploy.local.sandbox.klaviyo.parcels import WebhookDelivery
from shared.consent.asking import AskedConsent, Asking
from shared.consent.inbox import Inbox
from shared.consent.ledger import ConsentLedger
from shared.consent.webhook import accept_delivery
from shared.consent_events import Channel, Consent, Direction, SystemEvent
from shared.installation.connecting import connect, prepare_queues
from shared.jobs.jobs import AnyJob, FlushInbox, KeepMasterList, SpreadEvents
from shared.klaviyo.client import Account
from shared.klaviyo.oauth import TokenAnswer
from shared.klaviyo.resources import SYSTEM_TOPICS
from shared.services import Services
from shared.storage.documents import Documents
from shared.tenants.tenants import Tenant
from shared.web.callers import tenant_by_klaviyo
from shared.web.calls import Call, Reply, json_body
from shared.web.endpoints import endpoint
from shared.worker.run import run
from tests.support.mortal import Fate, WatchedDocuments, watched_connections
from tests.support.world import ACCOUNT, TENANT, WEBHOOK_SECRET, World, serve, serving

IDENTITY = "klaviyo"
MASTER_LIST = "MASTER"


@dataclass(frozen=True)
class Person:
    """Somebody both sides know. `klaviyo` and `omneo` are the ids there."""

    klaviyo: str
    omneo: str


@dataclass
class Retailer:
    """A tenant with its Klaviyo account, and a webhook to a door that is served."""

    world: World
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def person(self, *, identified: bool = True, comms: dict[str, Any] | None = None) -> Person:
        """Make somebody with an email and a phone, an Omneo profile, and its stored identity if `identified`."""
        number = next(self.numbers)
        email = f"canary-{number}@example.org"
        klaviyo = self.klaviyo.profile(ACCOUNT, email=email, phone_number=f"+6140000{number:04}").id
        identities = [{"handle": IDENTITY, "identifier": klaviyo}] if identified else []
        omneo = self.omneo.profile(
            TENANT, email=email, identities=identities, attributes={"comms": comms or {}}
        )
        return Person(klaviyo, omneo["id"])

    def deliver(self, **how: Any) -> list[WebhookDelivery]:
        """Let Klaviyo deliver its events, and check that the webhook accepted them."""
        done: list[WebhookDelivery] = self.klaviyo.deliver(ACCOUNT, **how)
        assert all(delivery.succeeded for delivery in done)
        return done

    def deliver_again(self) -> None:
        """Let Klaviyo deliver everything that has ever happened once more."""
        self.klaviyo.courier._find(ACCOUNT).outbox.extend(self.klaviyo.events(ACCOUNT))
        self.deliver()

    def change(self, person: Person, **comms: Any) -> None:
        """Change consent in Omneo, as its own users do."""
        self.world.services.omneo(self.world.read()).update_comms(person.omneo, comms)

    def forget(self, person: Person) -> None:
        """Delete the Omneo profile."""
        del self.omneo._tenants[TENANT].profiles[person.omneo]

    def settle(self, seconds: float = 13.0) -> None:
        """Let the queue spread the delivered events, and flush them when their window is over."""
        self.world.work()
        self.world.work(seconds)
        for _ in range(3):
            self.world.work(1)

    def comms(self, person: Person) -> dict[str, Any]:
        """Return the consent in Omneo that is anything but empty."""
        held = self.omneo.comms(TENANT, person.omneo)
        return {
            name: value
            for name, value in held.items()
            if value is not None and not name.endswith("verification")
        }

    def interactions(self, person: Person) -> list[tuple[str, int]]:
        """Return name and signal of the profile's interactions, by the times of their events."""
        rows = [row for row in self.omneo.interactions(TENANT) if row["profile_id"] == person.omneo]
        rows.sort(key=lambda row: (row["interacted_at"], row["id"]))
        return [(row["name"], row["signal"]) for row in rows]

    def calls(self, service: str = "omneo") -> list[str]:
        """Return the calls to a service, ids left out, and forget them."""
        calls = getattr(self.world.sandbox, service).calls
        made = [f"{call.method} {_plain(call.path)}" for call in calls.all()]
        calls.clear()
        return made

    def open(self) -> int:
        """Return how many entries wait."""
        far = self.world.clock().replace(year=9000)
        return len(list(Inbox.of(self.world.services).older_than(TENANT, far)))

    def ledger(self, person: Person) -> list[tuple[str, str, str]]:
        """Return before, after and source of the profile's records, oldest first."""
        tenant = self.world.read()
        if tenant.ledger_key is None:
            return []
        records = ConsentLedger.of(self.world.services).records_of(tenant, person.omneo, 100)
        return [(one.before, one.after, one.source.removeprefix("klaviyo:")) for one in reversed(records)]

    @property
    def klaviyo(self) -> Any:
        return self.world.sandbox.klaviyo

    @property
    def omneo(self) -> Any:
        return self.world.sandbox.omneo


@contextmanager
def retailer(world: World, **settings: Any) -> Iterator[Retailer]:
    """Install a tenant with these settings, serve its door, and tell Klaviyo of it."""
    tenant = an_installed_tenant(world, **settings)
    app = Flask("door", static_folder=None)
    serve(app, {"": a_door(world.services)})
    with serving(app) as url:
        world.sandbox.klaviyo.webhook(
            ACCOUNT,
            "Omneo",
            endpoint_url=f"{url}/{tenant.name}/api/v1/webhooks/klaviyo/system",
            secret_key=WEBHOOK_SECRET,
            topics=sorted(SYSTEM_TOPICS),
        )
        yield Retailer(world)


def an_installed_tenant(world: World, **settings: Any) -> Tenant:
    """Store a tenant with the id of its Klaviyo account, as after a real install."""
    tenant = world.tenant(installed=False)

    def edit(tenant: Tenant) -> Tenant:
        return tenant.model_copy(update={"settings": tenant.settings.model_copy(update=settings)})

    world.services.tenants.change(tenant.name, edit)
    tokens = TokenAnswer.model_validate(world.sandbox.klaviyo.install(ACCOUNT).to_json())
    account = Account(id=ACCOUNT)
    tenant = connect(tenant.name, tokens, tenants=world.services.tenants, now=world.clock(), account=account)
    prepare_queues(tenant, world.services.queue)
    return tenant


def a_door(services: Services) -> Callable[[], Response]:
    """Return the function that takes Klaviyo's deliveries, as a view."""

    @endpoint("POST", "/{tenant}/api/v1/webhooks/klaviyo/system", largest=25_000_000)
    def take(call: Call) -> Reply:
        taken = accept_delivery(
            tenant_by_klaviyo(call, services),
            json_body(call),
            webhook_id=call.headers.get("Klaviyo-Webhook-Id", ""),
            queue=services.queue,
            now=services.clock(),
            traceparent=call.traceparent,
        )
        return 202, taken

    return lambda: take(request)


@dataclass
class ListedQueue:
    """A queue whose tasks wait in a list until a test takes them. A name stays taken for ever; it sends nothing."""

    jobs: list[AnyJob] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    fate: Fate | None = None

    def put(self, job: AnyJob, tenant: Tenant, *, delay: float = 0.0) -> None:
        """Keep a job."""
        self._pass_by("before a put")
        self.jobs.append(job)
        self._pass_by("after a put")

    def put_named(self, job: AnyJob, tenant: Tenant, *, name: str, delay: float) -> bool:
        """Keep a job unless its name was used before."""
        if name in self.names:
            return False
        self._pass_by("before a put")
        self.names.add(name)
        self.jobs.append(job)
        self._pass_by("after a put")
        return True

    def _pass_by(self, what: str) -> None:
        if self.fate is not None:
            self.fate.pass_by(what)


@dataclass
class Inflow:
    """The handlers of incoming consent on a world's store, and the queue between them."""

    world: World
    services: Services
    queue: ListedQueue

    @classmethod
    def of(cls, world: World, fate: Fate | None = None, queue: ListedQueue | None = None) -> "Inflow":
        """Return them for a process that lives on, or one with a fate."""
        services = replace(world.services)
        documents: Documents = world.services.documents
        queue = ListedQueue(fate=fate) if queue is None else replace(queue, fate=fate)
        if fate is not None:
            documents = WatchedDocuments(documents, fate)
            services.__dict__["_connections"] = watched_connections(fate)
        services.__dict__["documents"] = documents
        services.__dict__["queue"] = queue
        return cls(world, services, queue)

    def spread(self, *events: SystemEvent) -> None:
        """Take in events, as one delivery."""
        if events:
            job = SpreadEvents(
                tenant=TENANT, accepted_at=self.world.clock(), account=ACCOUNT, events=tuple(events)
            )
            self.run(job)

    def flush(self, profile: str) -> None:
        """Flush the inbox of a Klaviyo profile."""
        self.run(FlushInbox(tenant=TENANT, accepted_at=self.world.clock(), profile=profile))

    def run(self, job: AnyJob) -> None:
        """Do a job of the tenant."""
        run(job, self.world.read(), self.services)

    def work(self, *, but: tuple[type[AnyJob], ...] = (KeepMasterList,)) -> None:
        """Do every job that waits; those of the given kinds stay undone."""
        while waiting := [job for job in self.queue.jobs if not isinstance(job, but)]:
            self.queue.jobs.remove(waiting[0])
            self.run(waiting[0])


def remember_a_call(
    shop: Retailer, person: Person, direction: Direction, channel: Channel = Channel.EMAIL
) -> None:
    """Remember a call that Klaviyo has accepted, for a decision of this moment, like the code that makes such a call."""
    asking = Asking(shop.world.read(), shop.world.services)
    asked = AskedConsent(
        person.omneo,
        person.klaviyo,
        Consent(channel.value),
        direction,
        shop.world.clock().replace(microsecond=0),
    )
    asking.begin(asked)
    asking.accepted(asked)


def an_event(person: Person, topic: str, at: datetime, id: str = "", **said: Any) -> SystemEvent:
    """Return a consent event of this person."""
    id = id or f"{person.klaviyo} {topic} {at}"
    return SystemEvent(id=id, topic=topic, profile=person.klaviyo, at=at, **said)


def _plain(path: str) -> str:
    known = {"api", "v3", "profiles", "search-id", "attributes", "comms", "interactions", "lists", "metrics"}
    known |= {"events", "profile-subscription-bulk-create-jobs", "accounts"}
    return "/".join(part if part in known else "*" for part in path.strip("/").split("/"))
