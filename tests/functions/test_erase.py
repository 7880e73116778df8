"""The right to be forgotten, from the outside: what is gone afterwards, what of the queue is not done, and what a new sign-up finds."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from shared.consent.inbox import Inbox
from shared.consent.memories import ConsentMemories
from shared.consent_events import SystemEvent
from shared.jobs.burial import hashes_of
from shared.jobs.dead_job import DeadJob
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import SendRecords, SpreadEvents, SyncProfile, read_job
from shared.profiles.synced import SyncedProfiles
from shared.rewards.claims import Claim, Issued, Person, RewardClaims
from shared.storage.documents import Documents
from shared.tenants.erasures import KEPT, Erasures, Identifier, mark_of
from tests.support.desk import FORBIDDEN, Desk
from tests.support.loading import Load
from tests.support.recording import Shelf
from tests.support.world import ACCOUNT, EMAIL, INSTALLATION_KEY, TENANT, WEBHOOK_SECRET, World, lines

BASE = f"/{TENANT}/api/v1"
KEY = {"Authorization": f"Bearer {INSTALLATION_KEY}"}
SECRET = {"x-omneo-secret": WEBHOOK_SECRET}
PROFILE = "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01"
METRIC = f"{BASE}/targets/klaviyo/metric?metric=Seen"
JOHN = "canary-john@example.org"


@pytest.fixture
def shop(world: World) -> World:
    """Return a world with a person whom both sides know."""
    world.tenant()
    world.sandbox.omneo.profile(TENANT, id=PROFILE, email=EMAIL)
    world.services.queue.put(
        SyncProfile(tenant=TENANT, accepted_at=world.clock(), profile_id=PROFILE, until=world.clock()),
        world.read(),
    )
    for _ in range(12):
        world.work(30)
    return world


@pytest.fixture
def admin(shop: World, load: Load) -> FlaskClient:
    """Return the function, on the world's time, in a shop in which somebody was erased before: the first erasure waits."""
    shop.live()
    somebody_was_erased(shop)
    return load("admin", shop.environment, sleep=shop.clock.sleep)


def somebody_was_erased(world: World) -> None:
    """Let every worker know that the tenant's work is to be looked at."""
    until = world.clock() + KEPT
    world.services.tenants.change(TENANT, lambda now: now.model_copy(update={"erased_until": until}))


def klaviyo_id(world: World) -> str:
    """Return the id of the person's Klaviyo profile."""
    (profile,) = world.sandbox.klaviyo.profiles(ACCOUNT)
    return str(profile.id)


def gone_in_omneo(world: World) -> None:
    """Let Omneo have deleted the person."""
    world.sandbox.omneo.delete_profile(TENANT, PROFILE)


def seen(world: World) -> list[Any]:
    """Return the events of the metric that the tests send."""
    return [event for event in world.events() if event.metric == "Seen"]


def erase(admin: FlaskClient, who: str = PROFILE, query: str = "") -> Any:
    answer = admin.delete(f"{BASE}/profiles/{who}{query}", headers=KEY)
    assert answer.status_code == 200, answer.get_json()
    assert "canary" not in answer.get_data(as_text=True)
    return answer.get_json()


def an_event(world: World, profile: str, at: timedelta = timedelta()) -> SystemEvent:
    return SystemEvent(
        id=f"event-{profile}-{at.total_seconds():.0f}",
        topic="unsubscribed_from_email_marketing",
        profile=profile,
        at=world.clock() + at,
    )


class TestWhatIsRemoved:
    def test_what_every_store_holds_of_the_person_is_gone_and_counted(
        self, admin: FlaskClient, shop: World
    ) -> None:
        theirs, services = klaviyo_id(shop), shop.services
        Inbox.of(services).add(TENANT, ACCOUNT, an_event(shop, theirs))
        Inbox.of(services).add(TENANT, ACCOUNT, an_event(shop, "01HJOHN"))
        gone_in_omneo(shop)
        removed = erase(admin)["removed"]
        assert (removed["inbox"], removed["synced"], removed["consent"]) == (1, 1, 1)
        assert Inbox.of(services).open_of(TENANT, theirs) == []
        assert len(Inbox.of(services).open_of(TENANT, "01HJOHN")) == 1
        assert SyncedProfiles.of(services).find(TENANT, PROFILE).klaviyo_id == ""
        memories = ConsentMemories.of(services).find(TENANT, PROFILE)
        assert [memory.calls for memory in memories.values()] == [(), ()]

    def test_a_second_time_it_finds_nothing_and_is_no_error(self, admin: FlaskClient, shop: World) -> None:
        gone_in_omneo(shop)
        erase(admin)
        assert set(erase(admin)["removed"].values()) <= {0, 1}  # that the profile was deleted is remembered

    def test_somebody_nobody_knows_is_erased_all_the_same(self, admin: FlaskClient) -> None:
        assert set(erase(admin, "01NOBODY")["removed"].values()) == {0}

    def test_dead_jobs_about_the_person_go_and_those_about_many_lose_their_part(
        self, admin: FlaskClient, shop: World
    ) -> None:
        at, theirs = shop.clock(), klaviyo_id(shop)
        shop.bury(SyncProfile(tenant=TENANT, id="sync", accepted_at=at, profile_id=PROFILE, until=at))
        records = ({"to": {"who": EMAIL.upper()}}, {"to": {"who": JOHN}})
        shop.bury(
            SendRecords(
                tenant=TENANT, id="records", accepted_at=at, data_source="Omneo Rewards", records=records
            ),
            detail=f"{EMAIL} is too long",
        )
        events = (an_event(shop, theirs), an_event(shop, "01HJOHN"))
        shop.bury(SpreadEvents(tenant=TENANT, id="events", accepted_at=at, account=ACCOUNT, events=events))
        assert erase(admin)["removed"]["dead_jobs"] == 3
        left = {dead.id: dead for dead in shop.dead_jobs()}
        assert sorted(left) == ["events", "records"]
        kept = read_job(left["records"].body)
        assert isinstance(kept, SendRecords)
        assert kept.records == ({"to": {"who": JOHN}},)
        assert left["records"].detail == ""
        assert theirs.encode() not in left["events"].body

    def test_a_dead_job_that_loses_a_persons_part_is_not_found_by_them_any_more(
        self, admin: FlaskClient, shop: World
    ) -> None:
        shop.services.tenants.change(
            TENANT, lambda tenant: tenant.model_copy(update={"ledger_key": SecretStr("canary-ledger")})
        )
        shop.services.tenant_cache.fresh(TENANT)
        shop.sandbox.klaviyo.fail(9, match="POST /api/data-source-record*", status=403, body=FORBIDDEN)
        people = [{"who": EMAIL if number % 2 else JOHN} for number in range(20)]
        Shelf(shop).accept({"data_source": "dates", "records": people})
        Shelf(shop).work_until_quiet()
        desk = Desk(shop)
        of_her, of_him = (hashes_of({"who": who}, shop.read())[0] for who in (EMAIL, JOHN))
        assert len(desk.rows(profile=of_her)) == len(desk.rows(profile=of_him)) == 1
        erase(admin)
        assert (desk.rows(profile=of_her), len(desk.rows(profile=of_him))) == ([], 1)

    def test_a_dead_job_that_cannot_be_read_goes_if_it_names_the_person(
        self, admin: FlaskClient, shop: World
    ) -> None:
        desk = DeadJobStore.of(shop.services)
        for id, email in (("theirs", EMAIL), ("another", JOHN)):
            dead = DeadJob(
                id=id,
                tenant=TENANT,
                kind="unread",
                reason="It cannot be read.",
                body=json.dumps({"email": email}).encode(),
                attempts=0,
                died_at=shop.clock(),
            )
            desk.add(dead, keep=timedelta(days=30))
        erase(admin)
        assert [dead.id for dead in shop.dead_jobs()] == ["another"]

    def test_a_reward_stays_one_reward_but_names_nobody(self, admin: FlaskClient, shop: World) -> None:
        claims, person = RewardClaims.of(shop.services), Person("", EMAIL)
        claim = claims.take(TENANT, "birthday", person, PROFILE, "body")
        assert isinstance(claim, Claim)
        claims.issued(claim, Issued(71, PROFILE, "body"))
        assert erase(admin)["removed"]["rewards"] == 2
        assert claims.meant(TENANT, "birthday", person) == ""
        again = claims.take(TENANT, "birthday", person, PROFILE, "body")
        assert isinstance(again, Issued)
        assert (again.reward_id, again.profile_id) == (71, "")

    def test_the_receipt_says_what_stays(self, admin: FlaskClient) -> None:
        receipt = erase(admin)
        assert receipt["lives_in_omneo"] is True
        assert any("ledger" in reason for reason in receipt["stays"])


class TestKlaviyo:
    def test_it_is_asked_only_on_demand(self, admin: FlaskClient, shop: World) -> None:
        gone_in_omneo(shop)
        assert erase(admin)["asked_of_klaviyo"] == 0
        assert len(shop.sandbox.klaviyo.profiles(ACCOUNT)) == 1
        assert erase(admin, query="?klaviyo=true")["asked_of_klaviyo"] == 1

    def test_it_is_not_asked_while_omneo_would_send_the_person_again(
        self, admin: FlaskClient, shop: World
    ) -> None:
        answer = admin.delete(f"{BASE}/profiles/{PROFILE}?klaviyo=true", headers=KEY)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (409, "conflict")
        assert "Omneo" in answer.get_json()["error"]["message"]
        assert SyncedProfiles.of(shop.services).find(TENANT, PROFILE).klaviyo_id != ""

    @pytest.mark.parametrize("given", ["yes", "1", "True", ""])
    def test_the_parameter_is_true_or_false(self, admin: FlaskClient, given: str) -> None:
        answer = admin.delete(f"{BASE}/profiles/{PROFILE}?klaviyo={given}", headers=KEY)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "invalid_payload")

    @pytest.mark.parametrize("query", ["?klavyo=true", "?klaviyo=true&dryRun=1"])
    def test_a_parameter_that_is_not_known_is_refused_and_nobody_is_erased(
        self, admin: FlaskClient, shop: World, query: str
    ) -> None:
        gone_in_omneo(shop)
        answer = admin.delete(f"{BASE}/profiles/{PROFILE}{query}", headers=KEY)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "invalid_payload")
        assert answer.get_json()["error"]["message"].endswith("Known: klaviyo.")
        assert SyncedProfiles.of(shop.services).find(TENANT, PROFILE).klaviyo_id != ""

    @pytest.mark.parametrize("at", ["@", "%40"])
    def test_an_address_has_no_place_in_a_url(self, admin: FlaskClient, at: str) -> None:
        answer = admin.delete(f"{BASE}/profiles/canary-john{at}example.org", headers=KEY)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "invalid_payload")
        message = answer.get_json()["error"]["message"]
        assert "an address must not stand in a URL" in message
        assert "canary" not in message


class TestTheQueue:
    def test_an_event_that_was_accepted_before_is_dropped_and_one_from_a_new_sign_up_arrives(
        self, shop: World, load: Load, capfd: pytest.CaptureFixture[str]
    ) -> None:
        shop.live()
        somebody_was_erased(shop)
        admin, targets = load("admin", shop.environment), load("targets", shop.environment)
        assert targets.post(METRIC, json={"profile": {"email": EMAIL}}, headers=SECRET).status_code == 202
        assert targets.post(METRIC, json={"profile": {"email": JOHN}}, headers=SECRET).status_code == 202
        erase(admin)
        shop.services.tenant_cache.fresh(TENANT)  # ten seconds later, by the real clock
        capfd.readouterr()
        shop.work(20)
        assert len(seen(shop)) == 1
        dropped = [line for line in lines(capfd.readouterr().out) if "erased" in line["message"]]
        assert [(line["outcome"], line["kind"]) for line in dropped] == [("done", "send-metric")]
        shop.clock.advance(3600)
        assert targets.post(METRIC, json={"profile": {"email": EMAIL}}, headers=SECRET).status_code == 202

    def test_a_new_sign_up_is_done(self, admin: FlaskClient, shop: World) -> None:
        from shared.jobs.jobs import SendMetric

        erase(admin)
        shop.services.tenant_cache.fresh(TENANT)  # ten seconds later, by the real clock
        shop.clock.advance(3600)
        profile = {"data": {"type": "profile", "attributes": {"email": EMAIL}}}
        metric = {"data": {"type": "metric", "attributes": {"name": "Seen"}}}
        event: Any = {
            "metric": metric,
            "profile": profile,
            "properties": {},
            "unique_id": "new",
            "time": shop.clock().isoformat(),
        }
        shop.services.queue.put(SendMetric(tenant=TENANT, accepted_at=shop.clock(), event=event), shop.read())
        shop.work(30)
        assert len(seen(shop)) == 1

    def test_consent_events_from_before_do_not_come_back_however_late_they_are_read(
        self, admin: FlaskClient, shop: World
    ) -> None:
        theirs = klaviyo_id(shop)
        old, new = an_event(shop, theirs, -timedelta(hours=1)), an_event(shop, theirs, timedelta(hours=1))
        gone_in_omneo(shop)
        erase(admin)
        shop.services.tenant_cache.fresh(TENANT)
        shop.clock.advance(7200)
        job = SpreadEvents(tenant=TENANT, accepted_at=shop.clock(), account=ACCOUNT, events=(old, new))
        shop.services.queue.put(job, shop.read())
        shop.work(1)
        assert [entry.event_id for entry in Inbox.of(shop.services).open_of(TENANT, theirs)] == [new.id]

    def test_after_a_month_nothing_is_looked_up_any_more(self, admin: FlaskClient, shop: World) -> None:
        erase(admin)
        until = shop.read().erased_until
        assert until is not None
        assert timedelta(days=30, hours=23) < until - shop.clock() <= timedelta(days=32, minutes=5)


def test_the_marks_name_nobody_on_either_store(
    documents: Documents, stored_bytes: Callable[[], bytes], world: World
) -> None:
    tenant = world.tenant().model_copy(update={"ledger_key": world.read().omneo_token})
    erasures, at = Erasures(documents, world.clock), world.clock()
    mark = mark_of(tenant, Identifier.EMAIL, EMAIL)
    assert mark == mark_of(tenant, Identifier.EMAIL, f" {EMAIL.upper()} ")
    assert mark != mark_of(tenant, Identifier.OMNEO_ID, EMAIL)
    assert erasures.last(TENANT, mark) is None
    erasures.note(TENANT, [mark], at)
    erasures.note(TENANT, [mark], at + timedelta(hours=1))
    erasures.note(TENANT, [mark], at)  # a slower one, which began earlier
    assert erasures.last(TENANT, mark) == at + timedelta(hours=1)
    assert erasures.last("another", mark) is None
    assert (erasures.all(TENANT), erasures.all("another")) == ({mark: at + timedelta(hours=1)}, {})
    assert EMAIL.encode() not in stored_bytes()
    world.clock.advance((KEPT + timedelta(hours=1)).total_seconds())
    assert erasures.last(TENANT, mark) is None
    assert erasures.all(TENANT) == {}
    erasures.forget(TENANT)
    assert documents.count(f"tenants/{TENANT}/erasures") == 0
