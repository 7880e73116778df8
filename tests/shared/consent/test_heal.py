"""What no webhook brought is read back from Klaviyo, once, whatever goes wrong on the way."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from urllib.parse import unquote

import pytest

from shared import logs
from shared.consent.heal import OVERLAP, start_heal
from shared.direction import Direction
from shared.errors import ConflictError, QueueUnavailableError
from shared.installation.connecting import connect
from shared.jobs.jobs import Delivery, EveryTenant, Heal, write_job
from shared.klaviyo.client import Account
from shared.klaviyo.history import EVENTS_A_PAGE
from shared.klaviyo.oauth import TokenAnswer
from shared.worker.delivery import deliver
from shared.worker.run import run
from shared.worker.schedule import every_tenant
from tests.support.consenting import Inflow, Person, Retailer, retailer
from tests.support.mortal import Fate, KilledError
from tests.support.world import ACCOUNT, TENANT, World, lines

HOUR = 3600.0
UNSUBSCRIBED = ("unsubscribed_from_email_marketing", -1)


@pytest.fixture
def shop(world: World) -> Iterator[Retailer]:
    """Return a tenant whose consent comes in."""
    with retailer(world) as shop:
        yield shop


def heal(shop: Retailer, seconds: float = 0.0) -> None:
    """Heal, and let the queue do all that comes of it."""
    start_heal(shop.world.read(), shop.world.services)
    work(shop, seconds)


def work(shop: Retailer, seconds: float = 0.0) -> None:
    """Let the queue do what there is to do, over this time and two windows more."""
    shop.world.work(seconds)
    for _ in range(6):
        shop.world.work(5)


def miss(shop: Retailer) -> None:
    """Let what is in Klaviyo's outbox reach nobody."""
    [webhook] = shop.klaviyo.webhooks(ACCOUNT)
    shop.klaviyo.disable_webhook(ACCOUNT, webhook.id)  # by Klaviyo, after 48 hours of errors
    assert shop.klaviyo.deliver(ACCOUNT) == []


def unheard(shop: Retailer) -> Person:
    """Return somebody who has unsubscribed and complained, of which nobody was told."""
    person = shop.person()
    shop.klaviyo.unsubscribe(ACCOUNT, person.klaviyo)
    shop.klaviyo.mark_as_spam(ACCOUNT, person.klaviyo)
    miss(shop)
    return person


def since(shop: Retailer) -> datetime | None:
    return shop.world.read().heal_from


def filters(shop: Retailer) -> list[str]:
    """Return the queries of the calls that asked for events."""
    return [unquote(call.query) for call in shop.klaviyo.calls.all() if call.path == "/api/events"]


def test_what_was_missed_in_60_hours_without_a_webhook_is_applied_once(shop: Retailer) -> None:
    jane, joe = shop.person(), shop.person()
    shop.klaviyo.subscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.settle()
    miss(shop)
    for act, person in (("unsubscribe", jane), ("subscribe", joe)):
        shop.world.clock.advance(30 * HOUR)
        getattr(shop.klaviyo, act)(ACCOUNT, person.klaviyo)
        getattr(shop.klaviyo, act)(ACCOUNT, person.klaviyo, channel="sms")
    heal(shop)
    assert shop.comms(jane)["email_promo"] is False
    assert shop.comms(joe)["sms_promo"] is True
    counts = [len(shop.interactions(person)) for person in (jane, joe)]
    assert counts == [3, 2]
    heal(shop)
    assert [len(shop.interactions(person)) for person in (jane, joe)] == counts


def test_what_came_by_webhook_is_not_handled_again(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    shop.deliver()
    shop.settle()
    shop.calls()
    heal(shop)
    assert shop.calls() == []
    assert shop.interactions(jane) == [UNSUBSCRIBED]


def test_what_a_heal_has_brought_is_not_handled_again_by_a_late_webhook(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    heal(shop)
    shop.deliver()
    shop.settle()
    assert shop.interactions(jane) == [UNSUBSCRIBED]


def test_a_run_reads_from_the_install_and_the_next_from_72_hours_before_it(shop: Retailer) -> None:
    installed = shop.world.clock()
    shop.world.clock.advance(100 * HOUR)
    began = shop.world.clock()
    heal(shop)
    assert all(f"datetime,{installed:%Y-%m-%dT%H:%M:%SZ}" in query for query in filters(shop))
    assert since(shop) == began - OVERLAP
    shop.klaviyo.calls.clear()
    heal(shop)
    assert all(f"datetime,{began - OVERLAP:%Y-%m-%dT%H:%M:%SZ}" in query for query in filters(shop))


def test_what_happened_before_the_install_is_never_read(shop: Retailer) -> None:
    jane, installed = shop.person(), shop.world.clock()
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo, at=shop.world.clock.timestamp() - HOUR)
    shop.klaviyo.deliver(ACCOUNT)
    shop.world.clock.advance(HOUR)
    for _ in range(2):
        heal(shop)
    assert since(shop) == installed
    assert all(f"datetime,{installed:%Y-%m-%dT%H:%M:%SZ}" in query for query in filters(shop))


def test_each_consent_metric_of_klaviyos_own_is_asked_for(shop: Retailer) -> None:
    heal(shop)
    assert len(filters(shop)) == 16
    assert all("equals" in query for query in filters(shop))


def test_more_than_a_page_is_read_to_the_end(shop: Retailer) -> None:
    people = [shop.person() for _ in range(3)]
    start = shop.world.clock.timestamp()
    for number in range(EVENTS_A_PAGE // 3 + 50):
        for person in people:
            shop.klaviyo.drop_email(ACCOUNT, person.klaviyo, at=start + number)
    shop.world.clock.advance(HOUR)
    miss(shop)
    inflow = Inflow.of(shop.world)
    inflow.run(Heal(tenant=TENANT, accepted_at=shop.world.clock()))
    found = 0
    while jobs := [job for job in inflow.queue.jobs if isinstance(job, Heal)]:
        inflow.queue.jobs.remove(jobs[0])
        found = max(found, jobs[0].found)
        inflow.run(jobs[0])
    assert found == len(shop.klaviyo.events(ACCOUNT)) > EVENTS_A_PAGE
    events = [event.id for job in inflow.queue.jobs for event in getattr(job, "events", ())]
    assert sorted(events) == sorted(event.id for event in shop.klaviyo.events(ACCOUNT))
    assert len(filters(shop)) == 17


def test_a_metric_that_klaviyo_does_not_filter_by_costs_reading_everything_once(
    shop: Retailer, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("p")
    jane = unheard(shop)
    shop.klaviyo.fail(next=1, match="GET /api/events", status=400)
    heal(shop)
    assert len(shop.interactions(jane)) == 2
    assert ["equals" in query for query in filters(shop)] == [True, False]
    assert since(shop) is not None
    [line] = [line for line in lines(capsys.readouterr().out) if "filter" in line["message"]]
    assert line["severity"] == "WARNING"


def test_what_cannot_be_read_of_a_page_comes_to_an_operator_and_holds_nothing_up(
    shop: Retailer, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("p")
    jane = unheard(shop)
    whose = {"profile": {"data": {"type": "profile", "id": jane.klaviyo}}}
    odd = {"type": "event", "id": "e1", "attributes": {"timestamp": "canary"}, "relationships": whose}
    shop.klaviyo.fail(next=1, match="GET /api/events", status=200, body={"data": [odd, odd]})
    heal(shop)
    [dead] = shop.world.dead_jobs()
    assert (dead.kind, "2 consent events" in dead.reason) == ("read-events", True)
    heal(shop)
    assert len(shop.interactions(jane)) == 2
    found = [line["events"] for line in lines(capsys.readouterr().out) if line["message"] == "heal finished"]
    assert found == [4, 2]


def test_while_klaviyo_throttles_the_page_waits_and_the_run_goes_on(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    miss(shop)
    shop.klaviyo.fail(next=3, match="GET /api/events", status=429, headers={"Retry-After": "20"})
    before = since(shop)
    shop.world.clock.advance(80 * HOUR)
    start_heal(shop.world.read(), shop.world.services)
    shop.world.work()
    assert (since(shop), len(filters(shop))) == (before, 1)
    for _ in range(3):
        work(shop, 60)
    assert since(shop) != before
    assert shop.interactions(jane) == [UNSUBSCRIBED]


def test_a_death_at_any_moment_of_a_run_loses_no_event(shop: Retailer) -> None:
    start = since(shop)
    shop.world.clock.advance(80 * HOUR)
    moment, died = 0, True
    while died:
        jane = shop.person()
        shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
        miss(shop)
        died = _dies(shop, moment)
        shop.world.clock.advance(301)
        again = Inflow.of(shop.world)
        again.run(Heal(tenant=TENANT, accepted_at=shop.world.clock()))
        again.work()
        assert shop.interactions(jane) == [UNSUBSCRIBED], f"died at moment {moment}"
        moment += 7  # a run has hundreds; each of its steps is met
    assert moment > 100
    assert since(shop) != start


def _dies(shop: Retailer, moment: int) -> bool:
    """Heal in a process that dies at this moment, and let the queue deliver again what it did not finish."""
    inflow = Inflow.of(shop.world, Fate(moment, kills=True))
    try:
        inflow.run(Heal(tenant=TENANT, accepted_at=shop.world.clock()))
        inflow.work()
    except KilledError:
        return True
    return False


def test_a_run_that_does_not_finish_does_not_move_the_start(shop: Retailer) -> None:
    before = since(shop)
    shop.world.clock.advance(100 * HOUR)
    shop.klaviyo.fail(next=99, match="GET /api/events", status=403)
    heal(shop)
    assert [dead.kind for dead in shop.world.dead_jobs()] == ["heal"]
    assert since(shop) == before


def test_a_new_account_starts_anew_whatever_a_run_of_the_old_one_comes_to(shop: Retailer) -> None:
    shop.world.clock.advance(100 * HOUR)
    inflow = Inflow.of(shop.world)
    inflow.run(Heal(tenant=TENANT, accepted_at=shop.world.clock()))
    shop.world.clock.advance(60)
    tokens = TokenAnswer.model_validate(shop.klaviyo.install("Other1").to_json())
    connect(
        TENANT,
        tokens,
        tenants=shop.world.services.tenants,
        now=shop.world.clock(),
        account=Account(id="Other1"),
    )
    connected = shop.world.clock()
    assert since(shop) == connected
    inflow.work()
    assert since(shop) == connected


def test_a_run_that_an_uninstall_overtakes_leaves_no_start_behind(shop: Retailer) -> None:
    shop.world.clock.advance(100 * HOUR)
    inflow = Inflow.of(shop.world)
    inflow.run(Heal(tenant=TENANT, accepted_at=shop.world.clock()))
    for _ in range(16):
        inflow.run(inflow.queue.jobs.pop())
    [last] = inflow.queue.jobs
    stale = shop.world.read()
    shop.world.services.tenants.change(
        TENANT, lambda tenant: tenant.model_copy(update={"klaviyo": None, "heal_from": None})
    )
    run(last, stale, inflow.services)
    assert since(shop) is None


def test_a_tenant_that_knows_no_start_yet_reads_from_its_install_on(shop: Retailer) -> None:
    installed = shop.world.clock()
    shop.world.clock.advance(HOUR)
    shop.world.services.tenants.change(TENANT, lambda tenant: tenant.model_copy(update={"heal_from": None}))
    heal(shop)
    assert since(shop) == installed
    assert all(f"datetime,{installed:%Y-%m-%dT%H:%M:%SZ}" in query for query in filters(shop))


def test_without_an_account_there_is_nothing_to_heal(shop: Retailer) -> None:
    shop.world.services.tenants.change(TENANT, lambda tenant: tenant.model_copy(update={"klaviyo": None}))
    heal(shop)
    assert shop.klaviyo.calls.all() == []
    assert shop.world.dead_jobs() == []


def test_two_runs_at_once_handle_each_event_once(shop: Retailer) -> None:
    """The lease keeps a second one from starting, but a lease can run out."""
    jane = shop.person()
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    miss(shop)
    shop.world.services.queue.put(Heal(tenant=TENANT, accepted_at=shop.world.clock()), shop.world.read())
    heal(shop)
    assert shop.interactions(jane) == [UNSUBSCRIBED]


# One run at a time


def is_under_way(shop: Retailer) -> bool:
    """Return whether a run cannot be started now; start it otherwise."""
    try:
        start_heal(shop.world.read(), shop.world.services)
    except ConflictError:
        return True
    return False


def test_of_many_orders_one_run_comes_and_after_it_another_may(shop: Retailer) -> None:
    assert [is_under_way(shop) for _ in range(50)] == [False] + [True] * 49
    assert len(shop.world.queued(Direction.INBOUND)) == 1
    work(shop)
    assert not is_under_way(shop)


def test_of_orders_at_the_same_moment_one_is_taken(shop: Retailer) -> None:
    with ThreadPoolExecutor(8) as pool:
        refused = list(pool.map(lambda _: is_under_way(shop), range(16)))
    assert refused.count(False) == 1


def test_a_run_is_under_way_as_long_as_its_pages_wait(shop: Retailer) -> None:
    shop.klaviyo.fail(next=10_000, match="GET /api/events", status=503)
    heal(shop)
    for _ in range(20):
        shop.world.work(HOUR)
        assert is_under_way(shop)
    shop.klaviyo.faults.clear()
    work(shop, HOUR)
    work(shop)
    assert not is_under_way(shop)


@pytest.mark.parametrize(("status", "hours"), [(403, 0), (503, 27)])
def test_a_run_that_died_is_not_under_way(shop: Retailer, status: int, hours: int) -> None:
    shop.klaviyo.fail(next=10_000, match="GET /api/events", status=status)
    heal(shop)
    for _ in range(hours):
        shop.world.work(HOUR)
    assert [dead.kind for dead in shop.world.dead_jobs()] == ["heal"]
    assert not is_under_way(shop)


def test_a_run_that_the_queue_did_not_take_as_far_as_we_know_blocks_the_next_for_five_minutes(
    shop: Retailer,
) -> None:
    tenant = shop.world.read()
    nowhere = tenant.model_copy(
        update={"settings": tenant.settings.model_copy(update={"task_queue_name": "elsewhere"})}
    )
    with pytest.raises(QueueUnavailableError):
        start_heal(nowhere, shop.world.services)
    assert is_under_way(shop)  # the queue may have taken it, and only its answer was lost
    shop.world.clock.advance(301)
    assert not is_under_way(shop)


def test_an_uninstall_ends_the_run(shop: Retailer) -> None:
    start_heal(shop.world.read(), shop.world.services)
    shop.world.services.tenants.change(TENANT, lambda t: t.model_copy(update={"klaviyo": None}))
    work(shop)
    assert not is_under_way(shop)


def test_the_schedule_starts_no_second_run(shop: Retailer) -> None:
    start_heal(shop.world.read(), shop.world.services)
    every = EveryTenant(run="heal", accepted_at=shop.world.clock())
    every_tenant(every, shop.world.services)
    assert len(shop.world.queued(Direction.INBOUND)) == 1
    work(shop)
    every_tenant(every, shop.world.services)
    assert len(shop.world.queued(Direction.INBOUND)) == 1


def test_the_heal_of_an_old_job_that_was_delivered_twice_does_no_harm(shop: Retailer) -> None:
    jane = shop.person()
    shop.klaviyo.unsubscribe(ACCOUNT, jane.klaviyo)
    miss(shop)
    job = Heal(tenant=TENANT, accepted_at=shop.world.clock() - timedelta(hours=1))
    given = Delivery(Direction.INBOUND, write_job(job), "q", "t", TENANT, 0)
    for _ in range(2):
        deliver(given, shop.world.services)
    work(shop)
    assert shop.interactions(jane) == [UNSUBSCRIBED]
