"""An erasure in its order: it is noted, every worker learns of it, Klaviyo is asked, and only then our side forgets whom to name."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.admin.routes import ROUTES, Asked
from shared.consent.former_identities import FormerIdentities, Heir
from shared.consent.former_numbers import FormerNumbers, GivenUp
from shared.consent.inbox import Inbox
from shared.consent_events import SystemEvent
from shared.direction import Direction
from shared.erasure.erase import NOBODY_TO_ASK_FOR, NOT_ASKED
from shared.errors import ConflictError, ExtensionError, WaitError
from shared.jobs.burial import hashes_of
from shared.jobs.jobs import (
    Delivery,
    Outcome,
    PackEvents,
    SendMetric,
    SendRecords,
    SyncProfile,
    read_job,
    write_job,
)
from shared.jobs.rules.patience import POISON_RETRIES
from shared.metrics.backlog import Backlog
from shared.profiles.synced import SyncedProfiles
from shared.services import Services
from shared.tenants.cache import SECONDS
from shared.tenants.erasures import KEPT, Erasures, Identifier, mark_of
from shared.worker.delivery import deliver
from tests.support.desk import Desk
from tests.support.mortal import Fate, KilledError, Meanwhile, WatchedDocuments, watched_connections
from tests.support.through import Through
from tests.support.world import ACCOUNT, EMAIL, TENANT, World

PROFILE = "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01"
DELETION = "POST /api/data-privacy-deletion-jobs"
JOHN = "canary-john@example.org"
TWIN = "acme-stg"
FORBIDDEN = {"errors": [{"code": "permission_denied", "detail": "Missing scope: data-privacy:write"}]}
Json = dict[str, Any]


@pytest.fixture
def shop(world: World) -> World:
    """Return a world with a person who was synced, and whom Omneo has deleted since. Only our side knows who they are in Klaviyo."""
    world.tenant()
    of_account(world, TENANT)
    world.sandbox.omneo.profile(TENANT, id=PROFILE, email=EMAIL)
    until = world.clock()
    world.services.queue.put(
        SyncProfile(tenant=TENANT, accepted_at=until, profile_id=PROFILE, until=until), world.read()
    )
    for _ in range(12):
        world.work(30)
    world.sandbox.omneo.delete_profile(TENANT, PROFILE)
    world.sandbox.klaviyo.profile(ACCOUNT, id=klaviyo_id(world), external_id="elsewhere")
    world.clock.slept.clear()
    return world


def of_account(world: World, name: str) -> None:
    """Let it be known which Klaviyo account the tenant has."""
    world.services.tenants.change(name, lambda now: now.model_copy(update={"klaviyo_account_id": ACCOUNT}))


def klaviyo_id(world: World) -> str:
    """Return the id of the only Klaviyo profile."""
    (profile,) = world.sandbox.klaviyo.profiles(ACCOUNT)
    return str(profile.id)


def known_id(world: World, name: str = TENANT) -> str:
    """Return which Klaviyo profile our side remembers of the person."""
    return SyncedProfiles.of(world.services).find(name, PROFILE).klaviyo_id


def erase(
    world: World,
    *,
    klaviyo: bool = True,
    services: Services | None = None,
    name: str = TENANT,
    who: str = PROFILE,
) -> Json:
    """Erase the person through the call that CX Manager makes, and return the receipt."""
    handler = ROUTES[("DELETE", "/profiles/{id}")]
    asked = Asked({"id": who}, lambda: None, {"klaviyo": "true" if klaviyo else "false"})
    status, receipt = handler(world.read(name), services or world.services, asked)
    assert status == 200
    return receipt


def is_noted(world: World) -> bool:
    """Return whether it is noted that the person was erased."""
    tenant = world.read()
    assert tenant.ledger_key is not None
    mark = mark_of(tenant, Identifier.OMNEO_ID, PROFILE)
    return Erasures(world.services.documents, world.clock).last(TENANT, mark) is not None


def in_klaviyo(world: World) -> int:
    """Return how many profiles Klaviyo has when its jobs have run."""
    world.work(3600)
    world.sandbox.klaviyo.run_jobs()
    return len(world.sandbox.klaviyo.profiles(ACCOUNT))


class TestKlaviyoIsAskedFirst:
    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ({"status": 429, "headers": {"Retry-After": "9"}}, WaitError),
            ({"status": 500}, WaitError),
            ({"kind": "html403"}, WaitError),
            ({"kind": "hang", "seconds": 0.05}, WaitError),
            ({"kind": "reset"}, WaitError),
            ({"status": 403, "body": FORBIDDEN}, ConflictError),
            ({"status": 500, "takes_effect": True}, WaitError),
        ],
    )
    def test_a_deletion_that_klaviyo_does_not_take_is_not_lost(
        self, shop: World, fault: Json, error: type[ExtensionError]
    ) -> None:
        theirs = klaviyo_id(shop)
        shop.sandbox.klaviyo.fail(match=DELETION, **fault)
        with pytest.raises(error):
            erase(shop)
        assert known_id(shop) == theirs
        shop.clock.advance(9)
        assert erase(shop)["asked_of_klaviyo"] == 1
        assert (known_id(shop), in_klaviyo(shop)) == ("", 0)

    def test_an_empty_success_is_one(self, shop: World) -> None:
        shop.sandbox.klaviyo.fail(match=DELETION, status=202, body=b"", takes_effect=True)
        assert erase(shop)["asked_of_klaviyo"] == 1
        assert in_klaviyo(shop) == 0

    def test_a_disconnected_account_is_refused_before_anything_is_noted(self, shop: World) -> None:
        theirs = klaviyo_id(shop)
        shop.disconnect()
        with pytest.raises(ConflictError, match="install the app again, then erase"):
            erase(shop)
        assert (known_id(shop), shop.read().erased_until) == (theirs, None)
        of_account(shop, shop.install().name)
        assert erase(shop)["asked_of_klaviyo"] == 1

    def test_an_account_that_turns_out_to_be_disconnected_is_too(self, shop: World) -> None:
        theirs = klaviyo_id(shop)
        shop.sandbox.klaviyo.uninstall(ACCOUNT)
        shop.clock.advance(7200)  # the access token is used up, and the refresh token is refused
        with pytest.raises(ConflictError, match="install the app again"):
            erase(shop)
        assert (known_id(shop), shop.read().erased_until) == (theirs, None)

    def test_a_death_at_any_moment_loses_nobody(self, shop: World) -> None:
        theirs, remembered = klaviyo_id(shop), SyncedProfiles.of(shop.services).find(TENANT, PROFILE)
        for moment in range(200):
            SyncedProfiles.of(shop.services).keep(TENANT, PROFILE, remembered)
            before = len(deletions(shop))
            fate = Fate(moment, kills=True)
            services = mortal(shop, fate)
            try:
                erase(shop, services=services)
            except KilledError:
                shop.clock.advance(400)  # what the dead one held has run out
                asked = len(deletions(shop)) > before
                assert asked or known_id(shop) == theirs, moment
                erase(shop)
            if not fate.struck:
                assert moment > 8
                break
            assert len(deletions(shop)) > before, moment
            assert known_id(shop) == "", moment

    def test_two_at_once_ask_for_the_person_and_both_end_well(self, shop: World) -> None:
        receipts = []

        def another(_seconds: float) -> None:
            shop.clock.advance(SECONDS)
            receipts.append(erase(shop))

        receipts.append(erase(shop, services=replace(shop.services, sleep=another)))
        assert [receipt["asked_of_klaviyo"] for receipt in receipts] == [1, 1]
        assert (known_id(shop), in_klaviyo(shop)) == ("", 0)

    def test_the_receipt_says_if_klaviyo_was_asked_for_nobody(self, shop: World) -> None:
        unasked = erase(shop, klaviyo=False)
        assert (unasked["asked_of_klaviyo"], unasked["stays"][-1]) == (0, NOT_ASKED)
        late = erase(shop)  # our side has forgotten whom to ask for
        assert (late["asked_of_klaviyo"], late["stays"][-1]) == (0, NOBODY_TO_ASK_FOR)

    def test_the_receipt_says_neither_when_klaviyo_was_asked(self, shop: World) -> None:
        assert not {NOT_ASKED, NOBODY_TO_ASK_FOR} & {*erase(shop)["stays"]}


class TestWorkersWithAnOlderTenant:
    def test_what_such_a_worker_still_sends_is_deleted_too(self, shop: World) -> None:
        event = an_event(shop, PROFILE)
        shop.sandbox.klaviyo.fail(next=9, match="POST /api/events", status=503)
        shop.services.tenant_cache.fresh(TENANT)
        shop.services.queue.put(event, shop.read())

        def the_worker_is_faster(_seconds: float) -> None:
            shop.sandbox.klaviyo.fail(next=0)
            shop.work(SECONDS)
            assert len(seen(shop)) == 1

        receipt = erase(shop, services=replace(shop.services, sleep=the_worker_is_faster))
        assert receipt["asked_of_klaviyo"] == 2  # whom we knew, and whom the event has made
        assert in_klaviyo(shop) == 0

    def test_the_first_erasure_waits_until_all_of_them_have_read_the_tenant_anew(self, shop: World) -> None:
        noted: list[bool] = []

        def look(seconds: float) -> None:
            noted.append(is_noted(shop) and shop.read().erased_until is not None)
            shop.clock.sleep(seconds)
            assert deletions(shop) == []

        erase(shop, services=replace(shop.services, sleep=look))
        assert (noted, shop.clock.slept) == ([True], [SECONDS])
        assert len(deletions(shop)) == 1

    @pytest.mark.parametrize(
        ("age", "waits"),
        [
            (timedelta(seconds=3), True),  # another call has noted it a moment ago
            (timedelta(seconds=11), False),
            (timedelta(days=20), False),
            (
                KEPT + timedelta(days=1) - timedelta(seconds=3),
                True,
            ),  # it ends before all have read what comes
            (KEPT + timedelta(days=2), True),
        ],
    )
    def test_a_later_one_waits_only_if_it_must(self, shop: World, age: timedelta, waits: bool) -> None:
        erase(shop, who="01SOMEBODY", services=replace(shop.services, sleep=lambda _seconds: None))
        shop.clock.advance(age.total_seconds())
        erase(shop)
        assert shop.clock.slept == ([SECONDS] if waits else [])
        until = shop.read().erased_until
        assert until is not None
        assert until >= shop.clock() - timedelta(seconds=SECONDS) + KEPT


class TestTwins:
    @pytest.fixture
    def twin(self, shop: World) -> World:
        """Return the shop with a second tenant on the same account."""
        shop.tenant(TWIN)
        of_account(shop, TWIN)
        return shop

    def test_who_is_the_customer_of_another_tenant_is_not_deleted(self, twin: World) -> None:
        twin.sandbox.omneo.profile(TWIN, id="1b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a02", email=EMAIL)
        twin.sandbox.klaviyo.profile(ACCOUNT, id=klaviyo_id(twin), external_id=PROFILE)
        refused(
            twin, f"The tenant {TWIN} .* Delete the person in its Omneo, erase them there without klaviyo"
        )

    def test_nor_one_whom_its_omneo_knows_by_the_identity(self, twin: World) -> None:
        other = "1b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a02"
        twin.sandbox.omneo.profile(TWIN, id=other, email=JOHN)
        twin.services.omneo(twin.read(TWIN)).create_identity(
            other, handle=twin.read(TWIN).settings.identity_handle, identifier=klaviyo_id(twin)
        )
        refused(twin, TWIN)

    def test_nor_one_whose_omneo_is_a_copy(self, twin: World) -> None:
        twin.sandbox.omneo.profile(TWIN, id=PROFILE, email=JOHN)
        refused(twin, TWIN)

    @pytest.mark.parametrize("account", [ACCOUNT, ""])
    def test_nor_one_whom_it_has_synced(self, twin: World, account: str) -> None:
        twin.services.tenants.change(TWIN, lambda now: now.model_copy(update={"klaviyo_account_id": account}))
        mine = SyncedProfiles.of(twin.services).find(TENANT, PROFILE)
        SyncedProfiles.of(twin.services).keep(TWIN, PROFILE, mine)
        refused(twin, TWIN)
        assert erase(twin, klaviyo=False, name=TWIN)["removed"]["synced"] == 1
        assert erase(twin)["asked_of_klaviyo"] == 1
        assert in_klaviyo(twin) == 0

    def test_whom_it_does_not_know_is_deleted(self, twin: World) -> None:
        twin.sandbox.omneo.profile(TWIN, id="1b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a02", email=JOHN)
        assert erase(twin)["asked_of_klaviyo"] == 1

    def test_a_tenant_whose_account_is_not_written_down_asks_klaviyo_for_it(self, twin: World) -> None:
        twin.services.tenants.change(TENANT, lambda now: now.model_copy(update={"klaviyo_account_id": ""}))
        twin.sandbox.omneo.profile(TWIN, id=PROFILE, email=EMAIL)
        refused(twin, TWIN)

    @pytest.mark.parametrize(("status", "error"), [(500, WaitError), (403, ConflictError)])
    def test_as_long_as_its_omneo_does_not_say_nobody_is_deleted(
        self, twin: World, status: int, error: type[ExtensionError]
    ) -> None:
        body = {"message": "No."}
        twin.sandbox.omneo.fail(match=f"GET /{TWIN}/*", status=status, body=body)
        refused(twin, None, error)

    def test_another_account_s_tenants_are_not_asked(self, twin: World) -> None:
        twin.services.tenants.change(
            TWIN, lambda now: now.model_copy(update={"klaviyo_account_id": "Other1"})
        )
        twin.sandbox.omneo.profile(TWIN, id=PROFILE, email=EMAIL)
        assert erase(twin)["asked_of_klaviyo"] == 1


class TestAProfileThatIsAnothersByNow:
    """Merged in Omneo, or handed on with an address: it is a living customer's, whose consent must not be lost."""

    HEIR = "1b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a02"

    @pytest.fixture(params=["external_id", "identity"])
    def handed_on(self, shop: World, request: pytest.FixtureRequest) -> World:
        """Return the shop in which somebody else has the person's Klaviyo profile."""
        if request.param == "identity":
            self.hands_over(shop)
        else:
            shop.sandbox.omneo.profile(TENANT, id=self.HEIR, email=JOHN)
            shop.sandbox.klaviyo.profile(ACCOUNT, id=klaviyo_id(shop), external_id=self.HEIR)
        return shop

    def test_it_is_not_deleted_and_the_receipt_says_so(self, handed_on: World) -> None:
        receipt = erase(handed_on)
        assert (receipt["asked_of_klaviyo"], receipt["stays"][-1]) == (0, NOBODY_TO_ASK_FOR)
        assert in_klaviyo(handed_on) == 1

    def test_what_waits_of_the_other_stays(self, handed_on: World) -> None:
        self.receives(handed_on)
        assert erase(handed_on, klaviyo=False)["removed"]["inbox"] == 0

    def test_an_opt_out_that_waits_holds_for_the_next_owner_of_the_address(self, shop: World) -> None:
        heir = Heir(self.HEIR, shop.clock() - timedelta(days=1), shop.clock() + timedelta(days=1))
        shop.sandbox.omneo.profile(
            TENANT, id=self.HEIR, email=JOHN, attributes={"comms": {"email_promo": True}}
        )
        FormerIdentities.of(shop.services).note_heir(TENANT, klaviyo_id(shop), heir)
        self.receives(shop)
        assert erase(shop, klaviyo=False)["removed"]["inbox"] == 1
        shop.work(30)
        held = shop.services.omneo(shop.read()).profile(self.HEIR)
        assert held is not None
        assert held.comms["email_promo"] is False

    def test_an_opt_out_by_text_that_waits_stays_with_the_number(self, shop: World) -> None:
        number, now = "mark-of-a-number", shop.clock()
        given_up = GivenUp(number, klaviyo_id(shop), now - timedelta(days=1), now + timedelta(days=1))
        numbers = FormerNumbers.of(shop.services)
        numbers.note_given_up(TENANT, given_up)
        self.receives(shop, "unsubscribed_from_sms_marketing")
        erase(shop, klaviyo=False)
        assert numbers.history(TENANT, number).opt_outs_for(self.HEIR, "") == [now]

    def test_nor_is_it_lost_while_only_omneo_can_tell_whose_it_is(self, shop: World) -> None:
        self.hands_over(shop)
        shop.disconnect()
        self.receives(shop)
        assert erase(shop, klaviyo=False)["removed"]["inbox"] == 0

    def receives(self, world: World, topic: str = "unsubscribed_from_email_marketing") -> None:
        event = SystemEvent(id="event", topic=topic, profile=klaviyo_id(world), at=world.clock())
        Inbox.of(world.services).add(TENANT, ACCOUNT, event)

    def hands_over(self, world: World) -> None:
        world.sandbox.omneo.profile(TENANT, id=self.HEIR, email=JOHN)
        world.services.omneo(world.read()).create_identity(
            self.HEIR, handle=world.read().settings.identity_handle, identifier=klaviyo_id(world)
        )


class TestWhatDiesMeanwhile:
    RECORDS = ({"who": EMAIL}, {"who": JOHN})

    @pytest.fixture
    def records(self, shop: World) -> World:
        """Return the shop with records of two people on the desk, and somebody who was erased lately."""
        shop.sandbox.omneo.profile(TENANT, id="01JANE", email=EMAIL)
        erase(shop, klaviyo=False, who="01SOMEBODY")
        shop.services.tenant_cache.fresh(TENANT)  # ten seconds later, by the real clock
        shop.clock.advance(60)
        return shop

    def poisoned(self, world: World) -> Outcome:
        (body,) = world.queued(Direction.OUTBOUND)
        return deliver(Delivery(Direction.OUTBOUND, body, "q", "t", TENANT, POISON_RETRIES), world.services)

    def left(self, world: World) -> Any:
        (dead,) = world.dead_jobs()
        job = read_job(dead.body)
        assert isinstance(job, SendRecords)
        return job.records, dead.profiles == hashes_of({"who": [r["who"] for r in job.records]}, world.read())

    def test_a_replay_that_nobody_could_read_brings_nobody_back(self, records: World) -> None:
        a_dead_job(records, self.RECORDS)
        Desk(records).replay("records")
        erase(records, klaviyo=False, who="01JANE")
        assert self.poisoned(records) is Outcome.DEAD
        assert self.left(records)[0] == ({"who": JOHN},)

    def test_nor_does_one_whose_row_has_gone(self, records: World) -> None:
        a_dead_job(records, self.RECORDS[:1])
        Desk(records).replay("records")
        erase(records, klaviyo=False, who="01JANE")
        assert self.poisoned(records) is Outcome.DONE
        assert records.dead_jobs() == []

    def test_nor_a_job_that_was_queued_before(self, records: World) -> None:
        job = SendRecords(
            tenant=TENANT, accepted_at=records.clock(), data_source="Omneo Rewards", records=self.RECORDS
        )
        records.services.queue.put(job, records.read())
        erase(records, klaviyo=False, who="01JANE")
        assert self.poisoned(records) is Outcome.DEAD
        assert self.left(records) == (({"who": JOHN},), True)

    def test_nor_one_of_the_person_alone(self, records: World) -> None:
        records.services.queue.put(an_event(records, "01JANE"), records.read())
        erase(records, klaviyo=False, who="01JANE")
        assert self.poisoned(records) is Outcome.DEAD
        assert records.dead_jobs() == []

    def test_a_body_that_kills_its_reader_stands_there_all_the_same(
        self, records: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        records.services.queue.put(an_event(records, "01JOHN"), records.read())

        def kills(_body: bytes) -> object:
            raise KilledError

        monkeypatch.setattr("shared.erasure.dead_jobs.read_job", kills)
        with pytest.raises(KilledError):
            self.poisoned(records)
        assert len(records.dead_jobs()) == 1
        assert self.poisoned(records) is Outcome.DEAD

    def test_nor_one_that_a_worker_was_at_while_the_person_was_erased(self, records: World) -> None:
        job = an_event(records, "01JANE")
        body = write_job(job)
        refusal = {"errors": [{"code": "invalid", "detail": "No."}]}
        records.sandbox.klaviyo.fail(match="POST /api/events", status=400, body=refusal)
        fate = Meanwhile("after POST /api/events", lambda: erase(records, klaviyo=False, who="01JANE"))
        services = mortal(records, fate, store=False)
        assert deliver(Delivery(Direction.OUTBOUND, body, "q", "t", TENANT, 0), services) is Outcome.DEAD
        assert fate.struck
        assert records.dead_jobs() == []


class TestADeadJobOfTwoPeople:
    def test_loses_both_of_them_if_they_are_erased_at_once(self, shop: World) -> None:
        a_dead_job(shop, ({"who": EMAIL}, {"who": JOHN}, {"who": "canary-jim@example.org"}))
        shop.sandbox.omneo.profile(TENANT, id="01JANE", email=EMAIL)
        shop.sandbox.omneo.profile(TENANT, id="01JOHN", email=JOHN)
        services = replace(shop.services)
        erase_john = lambda: erase(shop, klaviyo=False, who="01JOHN")  # noqa: E731 - it is handed on
        vars(services)["documents"] = AtTheDesk(shop.services.documents, erase_john)
        erase(shop, klaviyo=False, who="01JANE", services=services)
        (dead,) = shop.dead_jobs()
        left = read_job(dead.body)
        assert isinstance(left, SendRecords)
        assert left.records == ({"who": "canary-jim@example.org"},)
        assert dead.profiles == hashes_of({"who": "canary-jim@example.org"}, shop.read())

    def test_what_was_said_of_it_goes_too_where_only_that_names_the_person(self, shop: World) -> None:
        a_dead_job(shop, ({"who": JOHN},), detail=f"{EMAIL} is too long")
        shop.sandbox.omneo.profile(TENANT, id="01JANE", email=EMAIL)
        assert erase(shop, klaviyo=False, who="01JANE")["removed"]["dead_jobs"] == 1
        (dead,) = shop.dead_jobs()
        assert dead.detail == ""


class TestADeadEvent:
    @pytest.mark.parametrize("who", ["01JANE", "01JOHN"])
    def test_goes_with_the_person_whose_omneo_id_alone_its_job_names(self, shop: World, who: str) -> None:
        event: Json = {
            "metric": {"data": {"type": "metric", "attributes": {"name": "Seen"}}},
            "profile": {"data": {"type": "profile", "attributes": {"email": "canary-former@example.org"}}},
            "properties": {},
        }
        for id, email in (("01JANE", EMAIL), ("01JOHN", JOHN)):
            shop.sandbox.omneo.profile(TENANT, id=id, email=email)
        job = SendMetric(tenant=TENANT, accepted_at=shop.clock(), event=event, omneo_profile_id="01JANE")
        shop.bury(job, id="event")
        assert erase(shop, klaviyo=False, who=who)["removed"]["dead_jobs"] == int(who == "01JANE")
        assert len(shop.dead_jobs()) == int(who != "01JANE")


class AtTheDesk(Through):
    """A store in which somebody else is faster: right before the first dead job is written."""

    def __init__(self, documents: Any, meanwhile: Callable[[], object]) -> None:
        super().__init__(documents)
        self._meanwhile: Callable[[], object] | None = meanwhile

    def update(self, collection: str, id: str, fields: Any, *, version: Any = None) -> None:
        if collection.endswith("/dead_jobs") and self._meanwhile:
            happens, self._meanwhile = self._meanwhile, None
            happens()
        super().update(collection, id, fields, version=version)


def a_dead_job(world: World, records: tuple[Json, ...], *, detail: str = "") -> None:
    at = world.clock()
    job = SendRecords(tenant=TENANT, accepted_at=at, data_source="Omneo Rewards", records=records)
    world.bury(job, id="records", detail=detail)


def an_event(world: World, profile: str) -> SendMetric:
    event: Json = {
        "metric": {"data": {"type": "metric", "attributes": {"name": "Seen"}}},
        "profile": {"data": {"type": "profile", "attributes": {"external_id": profile}}},
        "properties": {},
        "unique_id": "before",
        "time": world.clock().isoformat(),
    }
    return SendMetric(tenant=TENANT, accepted_at=world.clock(), event=event)


def seen(world: World) -> list[Any]:
    return [event for event in world.events() if event.metric == "Seen"]


def deletions(world: World) -> list[Any]:
    """Return the calls that ask Klaviyo to delete somebody."""
    return [call for call in world.sandbox.klaviyo.calls.all() if call.path.startswith("/api/data-privacy")]


def mortal(world: World, fate: Fate, *, store: bool = True) -> Services:
    """Return services with whose calls the fate interferes, and with whose writes if `store`."""
    services = replace(world.services)
    if store:
        vars(services)["documents"] = WatchedDocuments(world.services.documents, fate)
    vars(services)["_connections"] = watched_connections(fate)
    return services


def refused(world: World, because: str | None, error: type[ExtensionError] = ConflictError) -> None:
    """Look that the person is not erased, and that nothing is noted."""
    theirs = known_id(world)
    with pytest.raises(error, match=because):
        erase(world)
    assert theirs
    assert (known_id(world), world.read().erased_until, deletions(world)) == (theirs, None, [])


class TestTheBacklog:
    """Events that wait for a bulk job."""

    def test_what_waits_of_the_person_is_dropped_and_what_is_anothers_stays(self, shop: World) -> None:
        for number, email in enumerate((EMAIL, JOHN)):
            event = {"profile": {"data": {"attributes": {"email": email}}}}
            named = {"tenant": TENANT, "id": f"j{number}", "accepted_at": shop.clock(), "event": event}
            Backlog.of(shop.services).add(TENANT, SendMetric.model_validate(named), at=shop.clock())
        assert erase(shop)["removed"]["backlog"] == 1
        (left,) = Backlog.of(shop.services).waiting(TENANT)
        assert left.job.id == "j1"

    def test_what_is_put_there_of_the_person_meanwhile_is_not_sent(self, shop: World) -> None:
        accepted_at = shop.clock()
        erase(shop)
        shop.services.tenant_cache.fresh(TENANT)  # as all have read it anew by then
        for email in (EMAIL, JOHN):
            event = {
                "metric": {"data": {"type": "metric", "attributes": {"name": "Seen"}}},
                "profile": {"data": {"type": "profile", "attributes": {"email": email}}},
                "properties": {"of": email},
                "unique_id": f"u-{email}",
            }
            job = SendMetric(tenant=TENANT, accepted_at=accepted_at, event=event)
            Backlog.of(shop.services).add(TENANT, job, at=shop.clock() - timedelta(seconds=10))
        shop.services.queue.put(PackEvents(tenant=TENANT, accepted_at=shop.clock()), shop.read())
        shop.work()
        assert Backlog.of(shop.services).count(TENANT) == 0
        assert [event.properties for event in shop.events() if event.metric == "Seen"] == [{"of": JOHN}]
