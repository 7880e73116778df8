"""One world: the bundle, the store, the queue, Klaviyo and Omneo, put together on one timeline, and the traffic between
them. The acts of people are in `acts`, the laws of its end in `laws`.
"""

import json
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from itertools import count, cycle
from random import Random
from typing import Any

from pydantic import SecretStr

from deploy.local.sandbox.klaviyo.accounts import Account as KlaviyoAccount
from deploy.local.sandbox.klaviyo.accounts import Profile
from deploy.local.sandbox.klaviyo.data_sources import DataSource
from deploy.local.sandbox.klaviyo.delivery import _GENUINE
from deploy.local.sandbox.klaviyo.event_resources import Event
from deploy.local.sandbox.klaviyo.oauth import SCOPES
from deploy.local.sandbox.klaviyo.parcels import Parcel
from deploy.local.sandbox.klaviyo.parcels import wait as klaviyo_waits
from deploy.local.sandbox.klaviyo.service import Klaviyo
from deploy.local.sandbox.omneo.delivery import SIGNATURE, sign
from deploy.local.sandbox.omneo.service import Omneo
from deploy.local.sandbox.omneo.tenants import Tenant as OmneoTenant
from deploy.local.sandbox.stage.clock import Clock
from deploy.local.sandbox.stage.identifiers import Identifiers
from deploy.local.sandbox.stage.messages import Answer, Request
from shared.installation.connecting import connect
from shared.klaviyo.client import Account
from shared.klaviyo.oauth import TokenAnswer
from shared.klaviyo.resources import DATA_SOURCES, SYSTEM_TOPICS, webhook_name
from shared.profiles import packing
from shared.resync import syncs_in_bulk
from shared.resync.rules import place
from shared.tenants.keys import hash_of
from shared.tenants.settings import TenantSettings
from shared.tenants.tenants import InstallationKey, StoredSecret, Tenant, TenantStore
from tests.support.memory_documents import MemoryDocuments
from tests.world import bundle
from tests.world.bundle import Process
from tests.world.faults import DiedError, Faults
from tests.world.oracle import Person
from tests.world.plans import HOUR, Plan
from tests.world.queue import SimulatedQueue, Task
from tests.world.timeline import START, Timeline
from tests.world.wire import OMNEO, call_of, json_of

TENANT, ACCOUNT, MASTER_LIST = "acme", "AcmeAc", "MASTER"
OMNEO_TOKEN, SIGNING_SECRET = "canary-omneo-token", "canary-signing-secret"
WEBHOOK_SECRET, INSTALLATION_KEY = "canary-webhook-secret", "canary-installation-key"
LEDGER_KEY = "canary-ledger-key"
_HOOK = f"/{TENANT}/api/v1/webhooks"
_JOBS = (
    "profile-subscription-bulk-",
    "profile-suppression-bulk-",
    "data-privacy-deletion",
    "profile-bulk-import",
)
_HELD = 300.0
_ECHO = 2.0


class SimulatedWorld:
    """The state of everything at one moment."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.timeline = Timeline()
        self.fired: Counter[str] = Counter()
        self.faults = Faults(plan.faults)
        self.story: list[tuple[float, str]] = []
        self.broken: list[str] = []  # laws that were broken while it was lived
        self.calls: list[tuple[float, str]] = []
        self.persons: list[Person] = []
        self.news_at = START
        self.deaths: list[float] = []
        self.strangers: list[Person] = []  # people who are only in Klaviyo
        self.graves: dict[str, dict[str, Any]] = {}  # deleted profiles, by id
        self.asked: list[Any] = []  # rewards, events and records that were asked of us
        self.told: set[str] = set()  # the ids of the consent events that we have taken in
        self._chance = None if plan.chance is None else Random(plan.chance)
        self._ids = count(1)
        self._landings = cycle(plan.landings)
        clock = Clock(self.timeline)
        identifiers = Identifiers(seed=plan.chance or 0, token_prefix="canary")
        self.klaviyo = Klaviyo(clock, identifiers, client_id="client", client_secret="canary-client-secret")
        self.omneo = Omneo(clock, identifiers)
        self.klaviyo.url, self.omneo.url = "http://klaviyo.invalid", OMNEO
        self.documents = _installed(plan.master_list).copy()
        self.tenants_read: dict[object, Tenant] = {}  # by version
        self._lagging: dict[str, tuple[float, dict[str, Any]]] = {}
        self._shown: dict[str, float] = {}  # when a profile of Omneo's was last shown
        self._install()
        self.queue = SimulatedQueue(self)
        for direction in ("inbound", "outbound"):
            self.queue.ensure(self.tenant().queue_name(bundle_direction(direction)))
        self._processes = [Process(self, skew) for skew in plan.skews]

    # Chance, which the plan's seed decides.

    def random(self) -> float:
        """Return a number from 0 to 1."""
        return 0.5 if self._chance is None else self._chance.random()

    def happens(self, likelihood: float) -> bool:
        """Return whether something unlikely happens."""
        return self._chance is not None and self._chance.random() < likelihood

    def latency(self) -> float:
        """Return how long one way of a call takes."""
        if self._chance is None:
            return 0.1
        return (
            self._chance.uniform(0.02, 0.3) if self._chance.random() < 0.93 else self._chance.uniform(0.3, 4)
        )

    def dispatch_seconds(self, late: float) -> float:
        """Return how long after it is due a task is dispatched."""
        if self._chance is None:
            return 0.05
        if self._chance.random() >= late:
            return self._chance.uniform(0.01, 0.5)
        self.fired["queue: late"] += 1
        return self._chance.uniform(1, 30)

    def echo_seconds(self) -> tuple[float, ...]:
        """Return when Klaviyo delivers an event that a call of ours has made."""
        if self.plan.echo is not None:
            return (self.plan.echo,)
        if self._chance is None:
            return (_ECHO,)
        draw = self._chance.random()
        if draw < 0.8:
            return (self._chance.uniform(0.5, 6),)
        if draw < 0.9:
            return (self._chance.uniform(6, 300),)
        if draw < 0.94:
            return (self._chance.uniform(0.2, 10) * HOUR,)
        return (self._chance.uniform(0.5, 6), self._chance.uniform(0.5, 60))

    def new_id(self) -> str:
        """Return an id."""
        return f"{next(self._ids):032x}"

    # The parts of the world.

    @property
    def account(self) -> KlaviyoAccount:
        """The account in Klaviyo."""
        return self.klaviyo._account(ACCOUNT)

    @property
    def omneo_tenant(self) -> OmneoTenant:
        """The tenant in Omneo."""
        return self.omneo._tenants[TENANT]

    def clock(self) -> datetime:
        """Return the time."""
        return datetime.fromtimestamp(self.timeline.now, UTC)

    @property
    def everybody(self) -> list[Person]:
        """Everybody who is in one of the services."""
        return [*self.persons, *self.strangers]

    def service(self, name: str) -> Klaviyo | Omneo:
        """Return one of the services."""
        return self.klaviyo if name == "klaviyo" else self.omneo

    def tenant(self) -> Tenant:
        """Return the tenant as it is stored."""
        found = TenantStore(self.documents, bundle.keys()).find(TENANT)
        assert found is not None
        return found

    def klaviyo_profile(self, person: Person) -> Profile | None:
        """Return the Klaviyo profile that is the person's: the one with their Omneo id, else with their email."""
        by_id = self.account.owner("external_id", person.omneo) if person.omneo else None
        return by_id or (self.account.owner("email", person.email) if person.email else None)

    def mailbox(self, person: Person, channel: str) -> Profile | None:
        """Return the Klaviyo profile that a message to the person would be sent from."""
        address = ("email", person.email) if channel == "email" else ("phone_number", person.phone)
        return self.account.owner(*address) if address[1] else None

    def omneo_profile(self, person: Person) -> dict[str, Any] | None:
        """Return the person's Omneo profile."""
        return self.omneo_tenant.profiles.get(person.omneo)

    def news(self) -> None:
        """Count the six minutes from now."""
        self.news_at = max(self.news_at, self.timeline.now)

    def note(self, text: str) -> None:
        """Put a line into the story."""
        self.story.append((self.timeline.seconds, text))

    def breaks(self, law: str) -> None:
        """Note that a law has been broken."""
        self.note(f"BROKEN: {law}")
        self.broken.append(law)

    def replace(self, dead: Process) -> None:
        """Let a new process take the place of one that has died."""
        place = self._processes.index(dead)
        self.note("a process dies")
        self.deaths.append(self.timeline.now)
        # Its leases stay taken for as long as a worker may run; six minutes begin after that.
        self.news_at = max(self.news_at, self.timeline.now + _HELD)
        self._processes[place] = Process(self, self.plan.skews[place])

    def process(self) -> Process:
        """Return the process that the next call reaches."""
        return self._processes[int(self.random() * len(self._processes)) % len(self._processes)]

    # Between the bundle and the services.

    def answer(self, service: str, asked: Request, line: str) -> Answer:
        """Let a service carry out a call."""
        self.calls.append((self.timeline.seconds, f"{service} {line}"))
        if service == "klaviyo":
            return self._klaviyo_answers(asked)
        return self._omneo_answers(asked)

    def _klaviyo_answers(self, asked: Request) -> Answer:
        is_job = asked.method == "POST" and any(job in asked.path for job in _JOBS)
        if is_job:
            self.klaviyo.consent.job_seconds = next(self._landings)
        answer = self.klaviyo.answer(asked, call_of(asked, self.timeline.now))
        if is_job and answer.status == 202:
            self._note_job(asked, self.klaviyo.consent.job_seconds)
            self.timeline.after(self.klaviyo.consent.job_seconds, self.klaviyo_moves)
        self.klaviyo_moves()
        return answer

    def klaviyo_moves(self) -> None:
        """Let Klaviyo's due jobs land, and deliver their events."""
        self.account.schedule.run_due()
        self._note_moves()
        self.tell_klaviyo(self.echo_seconds, "Klaviyo")

    def _note_moves(self) -> None:
        for person in self.persons:
            profile = self.account.owner("external_id", person.omneo)
            email = str(profile.attributes.get("email") or "") if profile else ""
            number = str(profile.attributes.get("phone_number") or "") if profile else ""
            if person.mailed and email != person.mailed:
                person.moved.append(("email", self.timeline.now))
            if person.texted and number != person.texted:
                person.moved.append(("sms", self.timeline.now))
            person.mailed, person.texted = email, number

    def _omneo_answers(self, asked: Request) -> Answer:
        if asked.method == "GET" and "/profiles/" in asked.path:
            id = asked.path.split("/profiles/")[1].split("/")[0]
            self._shown[id] = self.timeline.now
            for person in self.persons:
                if person.omneo == id:
                    person.seen.append(self.timeline.now)
        if asked.method == "GET" and (held := self._lagging_profile(asked)) is not None:
            id, old = held
            now = self.omneo_tenant.profiles[id]
            self.omneo_tenant.profiles[id] = old
            try:
                self.fired["omneo: lags"] += 1
                return self.omneo.answer(asked, call_of(asked, self.timeline.now))
            finally:
                self.omneo_tenant.profiles[id] = now
        if asked.method != "GET" and "/profiles/" in asked.path and "search" not in asked.path:
            id = asked.path.split("/profiles/")[1].split("/")[0]
            self.before_omneo_change(id)
            self._note_written(id, asked)
            self.note(
                f"we: {asked.method} {asked.path.split('/v3')[-1].replace(id, self._name(id))} {_short(asked)}"
            )
        answer = self.omneo.answer(asked, call_of(asked, self.timeline.now))
        self._note_shown(answer.body)
        self.tell_omneo(self.echo_seconds)
        return answer

    def _note_shown(self, text: bytes) -> None:
        for person in self.persons:
            person.shown(text, self.timeline.now)

    def _note_written(self, id: str, asked: Request) -> None:
        if not asked.path.endswith("/attributes/comms"):
            return
        comms = json_of(asked)
        for person in self.persons:
            for channel in ("email", "sms"):
                if person.omneo == id and comms.get(f"{channel}_promo") is False:
                    person.written.append((channel, self.timeline.now))

    def before_omneo_change(self, id: str) -> None:
        """Keep how a profile was, for reads that lag."""
        profile = self.omneo_tenant.profiles.get(id)
        if profile is not None:
            self._lagging[id] = (self.timeline.now, json.loads(json.dumps(profile)))

    def _lagging_profile(self, asked: Request) -> tuple[str, dict[str, Any]] | None:
        if "/profiles/" not in asked.path or not self.faults.lags(self.timeline.seconds):
            return None
        id = asked.path.split("/profiles/")[1].split("/")[0]
        changed_at, old = self._lagging.get(id, (0.0, {}))
        return (
            (id, old) if self.timeline.now - changed_at <= 2.0 and id in self.omneo_tenant.profiles else None
        )

    def watch(self, service: str, asked: Request) -> None:
        """Look at a call as it leaves: no subscribe may follow a newer opt-out that we were told of."""
        if service != "klaviyo" or "subscription-bulk-create" not in asked.path:
            return
        for row in json_of(asked)["data"]["attributes"]["profiles"]["data"]:
            attributes = row["attributes"]
            person = self._person_of(row.get("id"), attributes, as_told=True)
            if person is None:
                continue
            for channel in ("email", "sms"):
                if channel not in attributes.get("subscriptions", {}):
                    continue
                if person.shares(channel, self.everybody):
                    continue
                out = person.told_out(channel, self.timeline.now - 0.5)
                if out is not None:
                    self.breaks(
                        f"law 2: a subscribe of {person.name}'s {channel} is sent after {out.what} was told"
                    )

    def _person_of(
        self, id: object, attributes: Mapping[str, Any], *, as_told: bool = False
    ) -> Person | None:
        """Return the person in a row of a job: Klaviyo searches by id, else by address.

        `as_told` counts only merges that were reported to us.
        """
        addresses = {name: str(attributes.get(name) or "") for name in ("email", "phone_number")}
        by_address = (self.account.owner(name, value) for name, value in addresses.items() if value)
        found = self.account.profile(str(id)) if id else next((one for one in by_address if one), None)
        if found is None:
            # It is only about to be made.
            same = (person for person in self.persons if person.email and person.email == addresses["email"])
        else:
            external_id = found.attributes.get("external_id")
            same = (
                person
                for person in sorted(self.persons, key=lambda one: one.omneo != external_id)
                if person.omneo == external_id or self.klaviyo_profile(person) is found
            )
        return self._kept(next(same, None), self.timeline.now if as_told else None)

    def _kept(self, person: Person | None, told_by: float | None) -> Person | None:
        """Return the person into whom a person was merged in the end, or the person.

        If asked, count only merges that were reported to us by then.
        """
        while person is not None and (into := person.merged_into):
            if told_by is not None and person.merge_known_at > told_by:
                break
            person = next((one for one in self.persons if one.name == into), None)
        return person

    def _name(self, omneo_id: str) -> str:
        return next((person.name for person in self.persons if person.omneo == omneo_id), "somebody")

    def _note_job(self, asked: Request, seconds: float) -> None:
        kind = asked.path.rsplit("/", 1)[-1]
        what = {
            "profile-subscription-bulk-create-jobs": "subscribe",
            "profile-subscription-bulk-delete-jobs": "unsubscribe",
            "profile-suppression-bulk-create-jobs": "suppress",
        }.get(kind, kind)
        body = json_of(asked)["data"]["attributes"]
        rows = (body.get("profiles") or {}).get("data") or ()
        if kind == "profile-bulk-import-jobs" and all("external_id" not in row["attributes"] for row in rows):
            self.fired["syncs in bulk"] += 1
        for row in rows:
            person = self._person_of(row.get("id"), row["attributes"])
            for channel in row["attributes"].get("subscriptions", ()):
                if person is not None:
                    way = "in" if what == "subscribe" else "out"
                    person.asked.append((channel, way, self.timeline.now, self.timeline.now + seconds))
        about = ", ".join(
            f"{getattr(self._person_of(row.get('id'), row['attributes']), 'name', '?')} {'+'.join(row['attributes'].get('subscriptions', {}))}"
            for row in rows
        )
        self.note(f"we: {what} {about}, which lands after {seconds} s")

    # The reports of the services to us.

    def tell_klaviyo(self, told: Callable[[], Sequence[float]], by: str) -> None:
        """Deliver the events that have happened in Klaviyo, each telling so many seconds from now."""
        outbox, self.account.outbox = self.account.outbox, []
        if not outbox:
            return
        for person in self.persons if by == "person" else ():
            profile = self.klaviyo_profile(person)
            for event in outbox:
                if profile is not None and event.profile_id == profile.id:
                    person.events[event.id] = event.topic.removeprefix("event:klaviyo."), event.time
        topics = " and ".join(sorted({event.topic.removeprefix("event:klaviyo.") for event in outbox}))
        seconds = tuple(told())
        if by == "Klaviyo":
            self.note(f"Klaviyo records {topics}")
        for delay in seconds:
            parcel = Parcel(next(iter(self.account.webhooks)), tuple(outbox))
            self.timeline.after(delay, partial(self._deliver, parcel))

    def _deliver(self, parcel: Parcel) -> None:
        webhook = self.account.webhooks[parcel.webhook_id]
        events = tuple(event for event in parcel.events if event.topic in webhook.topics)
        if not events or not webhook.enabled:
            return
        courier = self.klaviyo.courier
        body = courier._body(self.account, Parcel(webhook.id, events), _GENUINE)
        headers = courier._headers(webhook, body, _GENUINE)

        def settle(status: int) -> None:
            self._note_told(events, status)
            if status not in (200, 201, 202):
                again = Parcel(parcel.webhook_id, events, parcel.tries + 1)
                self.timeline.after(klaviyo_waits(again.tries), partial(self._deliver, again))

        self.knock("system_webhooks", f"{_HOOK}/klaviyo/system", headers, body, settle)

    def _note_told(self, events: Sequence[Event], status: int) -> None:
        self.news()
        if status == 202:
            self.told.update(event.id for event in events)
        names = " and ".join(sorted({event.topic.removeprefix("event:klaviyo.") for event in events}))
        self.note(f"Klaviyo tells of {names}: {status}")

    def tell_omneo(self, told: Callable[[], Sequence[float]]) -> None:
        """Deliver Omneo's webhooks."""
        happened, self.omneo_tenant.happened = self.omneo_tenant.happened, []
        for event, context in happened:
            for delay in told():
                body = json.dumps(context).encode()
                self.timeline.after(delay, partial(self._tell_omneo, event, body))

    def _tell_omneo(self, event: str, body: bytes, tries: int = 0) -> None:
        headers = {
            "Content-Type": "application/json",
            "X-Omneo-Event": event,
            SIGNATURE: sign(SIGNING_SECRET, body),
        }

        def settle(status: int) -> None:
            self.news()
            self.note(f"Omneo tells of {event}: {status}")
            if status == 202:
                self._note_shown(body)
            if not 200 <= status < 300:
                self.timeline.after(60.0 * 2**tries, lambda: self._tell_omneo(event, body, tries + 1))

        self.knock("omneo_webhooks", f"{_HOOK}/omneo", headers, body, settle)

    def knock(
        self,
        function: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        settle: Callable[[int], None],
        *,
        method: str = "POST",
    ) -> None:
        """Call one of the public functions, in a new strand."""

        def strand() -> None:
            try:
                status, _ = self.process().call(function, method, path, headers, body)
            except DiedError:
                status = 0
            self._look_at(status, function)
            settle(status)

        self.timeline.spawn(strand)

    def work(self, task: Task, headers: Mapping[str, str], settle: Callable[[int], None]) -> None:
        """Deliver a task to its worker, in a new strand."""
        began = self.timeline.now

        def strand() -> None:
            direction = task.direction.value
            try:
                status, answer = self.process().call(
                    f"{direction}_worker", "POST", f"/tasks/{direction}", headers, task.body
                )
            except DiedError:
                status, answer = 0, b""
            if status not in (200, 503, 0):  # it is done with, is to come again, or died
                self.breaks(f"law 0: {direction}_worker answered {status}: {_stumbled.last}")
            if status == 200:
                self._work_done(task, began, json.loads(answer).get("outcome", ""))
            settle(status)

        self.timeline.spawn(strand)

    def _look_at(self, status: int, function: str) -> None:
        if status == 500:
            self.breaks(f"law 0: {function} stumbled: {_stumbled.last}")

    def _work_done(self, task: Task, began: float, outcome: str) -> None:
        job = json.loads(task.body)
        kind = job["kind"]
        self.fired[f"job {kind}: {outcome}"] += 1
        if outcome != "done":
            self.note(
                f"job {kind}: {outcome}"
                + (f" ({_stumbled.reason})" if outcome in ("waiting", "dead") else "")
            )
            return
        if kind == "spread-events":
            self._know({str(row["id"]) for row in job["events"]})
        # A sync that comes after another of the same profile looks at nothing.
        if kind == "sync-profile" and self._shown.get(job["profile_id"], 0.0) >= began:
            self._know_omneo(job["profile_id"], began)
        if kind == "flush-inbox":
            self._know_handled(job["profile"], began)

    def _know(self, events: set[str]) -> None:
        for person in self.persons:
            for rows in person.decisions.values():
                for row in rows:
                    if row.known_at is None and row.events & events:
                        row.known_at = self.timeline.now

    def _know_handled(self, profile: str, began: float) -> None:
        for person in self.persons:
            for row in (row for rows in person.decisions.values() for row in rows):
                is_in_inbox = row.profile == profile and row.known_at is not None and row.known_at <= began
                if is_in_inbox and row.handled_at is None:
                    row.handled_at = self.timeline.now
                    person.first_seen_at = min(person.first_seen_at, row.handled_at)

    def _know_omneo(self, profile: str, began: float) -> None:
        for person in self.persons:
            if person.omneo == profile:
                person.first_seen_at = min(person.first_seen_at, began)
                for rows in person.decisions.values():
                    for row in rows:
                        if row.known_at is None and row.side == "omneo" and row.at <= began - 2.0:
                            row.known_at = self.timeline.now

    def seen_task(self, task: Task, delay: float) -> None:
        """Note a task that was put back: six minutes begin when the waiting job is tried again."""
        if delay > 20 and b'"attempts":0' not in task.body and self.faults.fired:
            self.news_at = max(self.news_at, task.due)

    def scheduled(self, run: str) -> None:
        """Let Cloud Scheduler call the worker."""
        body = json.dumps({"kind": "every-tenant", "run": run}).encode()

        def settle(status: int) -> None:
            if status == 0 or status >= 500:
                self.timeline.after(5, lambda: self.scheduled(run))

        self.knock("inbound_worker", "/tasks/inbound", {"Content-Type": "application/json"}, body, settle)

    # How it begins.

    def _install(self) -> None:
        self.klaviyo.consent.repeats_consent_events = self.plan.repeats_consent_events
        self.klaviyo.install(ACCOUNT, access_token=_ACCESS, refresh_token=_REFRESH)
        opt_in = "double_opt_in" if self.plan.double_opt_in else "single_opt_in"
        self.klaviyo.account(ACCOUNT, default_opt_in=opt_in)
        self.klaviyo.marketing_list(ACCOUNT, "Master", id=MASTER_LIST, opt_in_process=opt_in)
        self.klaviyo.webhook(
            ACCOUNT,
            webhook_name(TENANT),
            endpoint_url=f"https://extension.example.org{_HOOK}/klaviyo/system",
            secret_key=WEBHOOK_SECRET,
            topics=sorted(SYSTEM_TOPICS),
        )
        self.omneo.tenant(TENANT, token=OMNEO_TOKEN, signing_secret=SIGNING_SECRET)
        self.omneo.reward_rules(
            TENANT, repeated_external_id="creates"
        )  # nothing may rest on Omneo's refusing it
        self.omneo.reward_definition(TENANT, id=6, handle="birthday", period=30, period_type="days")
        for id, title in _SOURCES.items():
            self.account.data_sources[id] = DataSource(id, title)
        self.omneo.returns_own_changes = self.plan.returns_own_changes


_SOURCES = {f"01DATASOURCE{number:014}": title for number, title in enumerate(DATA_SOURCES)}
_ACCESS, _REFRESH = "canary-access", "canary-refresh"


def bundle_direction(name: str) -> Any:
    from shared.direction import Direction

    return Direction(name)


@cache
def _installed(master_list: bool) -> MemoryDocuments:
    """Return a store with an installed tenant; made once, and copied for each history."""
    documents = MemoryDocuments()
    tenants = TenantStore(documents, bundle.keys())
    now = datetime.fromtimestamp(START - 20 * 86400, UTC)
    tenants.create(
        Tenant(
            name=TENANT,
            created_at=now,
            installation_keys=(InstallationKey(hash=hash_of(INSTALLATION_KEY), created_at=now),),
            omneo_token=SecretStr(OMNEO_TOKEN),
            omneo_signing_secrets=(StoredSecret(value=SecretStr(SIGNING_SECRET), created_at=now),),
            webhook_secrets=(StoredSecret(value=SecretStr(WEBHOOK_SECRET), created_at=now),),
            ledger_key=SecretStr(LEDGER_KEY),
            settings=TenantSettings(
                task_queue_name=TENANT, master_list_id=MASTER_LIST if master_list else None
            ),
        )
    )
    answer = TokenAnswer.model_validate(
        {
            "access_token": _ACCESS, "token_type": "bearer", "refresh_token": _REFRESH, "expires_in": 3600, "scope": SCOPES,
        }
    )  # fmt: skip
    connect(
        TENANT, answer, tenants=tenants, now=datetime.fromtimestamp(START, UTC), account=Account(id=ACCOUNT)
    )
    made = {title: id for id, title in _SOURCES.items()}
    tenants.change(
        TENANT,
        lambda tenant: tenant.model_copy(
            update={"provisions": tenant.provisions.model_copy(update={"data_sources": made})}
        ),
    )
    return documents


class _Stumbled(logging.Handler):
    """Keeps the last log line of a failure."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""
        self.reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", {})
        self.last = str(fields.get("error", self.last))
        self.reason = str(fields.get("reason", self.reason))


_stumbled = _Stumbled()


@contextmanager
def simulated(page_size: int = place.PAGE_SIZE, many_syncs: int = packing.MANY) -> Iterator[None]:
    """Give product code the world's ids, threads and log instead of the machine's: ids are counted, threads run in
    line, and the log is kept. A run reads Omneo's list in pages of so many profiles, so that a few people make many
    pages. From so many waiting syncs on, syncs go in bulk imports, each with at most as many.
    """
    bundle.functions()
    log, ids, real = logging.getLogger("extension"), count(1), uuid.uuid4
    before = (log.handlers[:], log.level, log.propagate)
    log.handlers[:], log.propagate = [_stumbled], False
    log.setLevel(logging.WARNING)
    uuid.uuid4 = lambda: uuid.UUID(int=next(ids), version=4)
    usual, place.PAGE_SIZE = place.PAGE_SIZE, page_size
    many, packing.MANY = packing.MANY, many_syncs
    in_one, syncs_in_bulk.MOST_IN_ONE = syncs_in_bulk.MOST_IN_ONE, min(syncs_in_bulk.MOST_IN_ONE, many_syncs)
    try:
        with bundle.run_inline():
            yield
    finally:
        uuid.uuid4, place.PAGE_SIZE = real, usual
        packing.MANY, syncs_in_bulk.MOST_IN_ONE = many, in_one
        log.handlers[:], log.level, log.propagate = before


def _short(asked: Request) -> str:
    try:
        return json.dumps(json_of(asked))[:200]
    except ValueError:
        return ""
