"""Events that are throttled and go in bulk, in histories in which something else goes wrong besides: each arrives once, on its person's profile."""

import pytest

from tests.world.history import live
from tests.world.plans import ANSWERS, QUEUE, STORE, Act, Beginning, Fault, Plan
from tests.world.story import told

BULK = "POST /api/event-bulk-create-jobs"
ACTS = (
    Act(5, "s.event", 0, (0.5,)),
    Act(6, "s.event", 1, (0.5, 0.7)),
    Act(7, "s.event by id", 0, (0.5,)),
    Act(8, "s.event", 0, (0.5,)),
    Act(30, "s.event", 1, (0.5,)),
)
THROTTLED = Fault(5, "klaviyo", "429", 20, about="POST /api/events")
WRONG = [
    *(Fault(5, "klaviyo", kind, about=BULK) for kind in ANSWERS),
    *(
        Fault(at, "store", kind, about=f"store {operation}")
        for kind in STORE
        for operation in ("write_all", "create", "delete", "find")
        for at in (5, 12)
    ),
    *(Fault(at, "queue", kind, about="queue put*") for kind in QUEUE for at in (5, 12)),
]


def a_rush(*faults: Fault, chance: int | None = None) -> Plan:
    people = (Beginning("in", "out"), Beginning("out", "out"))
    return Plan(people=people, acts=ACTS, faults=(THROTTLED, *faults), chance=chance)


@pytest.mark.parametrize("fault", WRONG, ids=lambda fault: f"{fault.kind} at {fault.about} after {fault.at}")
def test_every_event_arrives_once_whatever_goes_wrong(fault: Fault) -> None:
    lived = live(a_rush(fault))
    if lived.went_wrong:
        pytest.fail(told(lived), pytrace=False)
    assert lived.fired[f"{fault.where}: {fault.kind}"]


@pytest.mark.parametrize("chance", range(20))
def test_every_event_arrives_once_whatever_the_queue_does(chance: int) -> None:
    lost = (
        Fault(5, "klaviyo", "lost after", about=BULK)
        if chance % 2
        else Fault(5, "klaviyo", "slow", about=BULK)
    )
    lived = live(a_rush(lost, chance=chance))
    if lived.went_wrong:
        pytest.fail(told(lived), pytrace=False)
    assert lived.fired[f"klaviyo: {lost.kind}"]
