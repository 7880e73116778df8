"""What is noted of decisions on their way to Omneo, and how old what Omneo showed may be when it is written over."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from pydantic import SecretStr

from shared.consent.ledger import ConsentLedger, ConsentRecord
from shared.consent.memories import Memories
from shared.consent.rules.decisions import Decided
from shared.consent.rules.learning import PULLED
from shared.consent.rules.memory import Memory
from shared.consent.to_omneo import is_fresh, note_decisions, record_decisions
from shared.consent_events import Channel, Decision
from shared.services import Services
from shared.tenants.tenants import Tenant
from tests.support.world import TENANT, Clock, a_tenant

NOW = Clock().now
JANE = "5d1f6a3e"
SUBSCRIBED = {"email_promo": True}
PULLED_OUT = Decided(
    f"{PULLED}{NOW.isoformat()}", "unsubscribed_from_email_marketing", "", NOW, Decision.OPT_OUT, is_told=True
)
EARLIER = Decided(
    "e1", "unsubscribed_from_email_marketing", "01HX", NOW - timedelta(days=1), Decision.OPT_OUT,
    is_written=True, is_told=True,
)  # fmt: skip


@pytest.fixture
def services(store_services: Services) -> Services:
    """Return services with a tenant from before there were ledger keys."""
    store_services.tenants.create(a_tenant(TENANT, NOW, ledger_key=None))
    return store_services


def of_email(*events: Decided, seen_at: datetime | None = None) -> Memories:
    """Return memories of a profile, with events of its email."""
    return {
        Channel.EMAIL: Memory(Channel.EMAIL, events=events, seen_at=seen_at),
        Channel.SMS: Memory(Channel.SMS),
    }


def noted(services: Services, *befores: Memories) -> list[ConsentRecord]:
    """Return the ledger after an opt-out that was found in Klaviyo was noted once for each state of what was known before."""
    tenant = a_tenant(TENANT, NOW, ledger_key=SecretStr("canary-ledger"))
    for before in befores:
        events = before[Channel.EMAIL].events
        after = of_email(*(event for event in events if event.id != PULLED_OUT.id), PULLED_OUT)
        note_decisions(before, after, SUBSCRIBED, profile_id=JANE, tenant=tenant, services=services)
    return ConsentLedger.of(services).records_of(tenant, JANE, 100)


@pytest.mark.parametrize(
    ("seconds", "is_so"), [(0.0, True), (1.999, True), (2.0, True), (2.001, False), (60.0, False)]
)
def test_what_omneo_showed_is_what_it_holds_for_two_seconds(seconds: float, is_so: bool) -> None:
    assert is_fresh(NOW, NOW + timedelta(seconds=seconds)) is is_so


def test_an_opt_out_that_was_found_in_klaviyo_is_one_decision_however_often_it_is_noted(
    services: Services,
) -> None:
    seen = [None, NOW - timedelta(days=2), NOW - timedelta(days=1)]
    (record,) = noted(services, *(of_email(seen_at=at) for at in seen))
    assert (record.at, record.before, record.after) == (NOW, "subscribed", "unsubscribed")
    assert record.source == "klaviyo:profile"


def test_another_event_that_omneo_was_given_makes_no_second_decision_of_it(services: Services) -> None:
    seen = [NOW - timedelta(hours=2), NOW - timedelta(hours=1)]
    assert len(noted(services, *(of_email(EARLIER, PULLED_OUT, seen_at=at) for at in seen))) == 1


def test_where_omneo_was_given_it_and_has_shown_an_opt_in_since_it_is_a_decision_of_its_own(
    services: Services,
) -> None:
    given = of_email(replace(PULLED_OUT, is_written=True), seen_at=NOW + timedelta(days=1))
    assert len(noted(services, of_email(), given)) == 2


def test_an_opt_out_that_omneo_is_given_again_is_a_decision_of_its_own(services: Services) -> None:
    """She has been shown as opted in meanwhile, with a stamp that lies ahead."""
    tenant, seen_at = a_tenant(TENANT, NOW, ledger_key=SecretStr("canary-ledger")), NOW - timedelta(hours=1)
    again = replace(EARLIER, is_written=False)
    for before, after in ((again, again), (EARLIER, EARLIER), (EARLIER, again), (EARLIER, again)):
        memories = of_email(before, seen_at=seen_at), of_email(after, seen_at=seen_at)
        note_decisions(*memories, SUBSCRIBED, profile_id=JANE, tenant=tenant, services=services)
    records = ConsentLedger.of(services).records_of(tenant, JANE, 100)
    assert [record.after for record in records] == ["unsubscribed", "unsubscribed"]


def test_where_nothing_was_decided_the_tenant_is_not_written(services: Services) -> None:
    def stored() -> Tenant | None:
        return services.tenants.find(TENANT)

    tenant = stored()
    assert tenant is not None
    record_decisions([], JANE, tenant, services)
    assert stored() == tenant
    note = ConsentRecord(NOW, Channel.EMAIL, "subscribed", "unsubscribed", "omneo", "e1")
    record_decisions([note], JANE, tenant, services)
    assert stored() != tenant
