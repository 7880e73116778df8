"""The simulated world itself: the same again for the same seed, rules of the queue, deaths, and short stories of what went wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.direction import Direction
from shared.jobs.jobs import SweepInbox as Sweep
from tests.world.faults import DiedError, Faults
from tests.world.history import live
from tests.world.plans import CONSENT_ACTS, Act, Beginning, Fault, Plan, drawn
from tests.world.shrink import shrunk
from tests.world.story import told, written
from tests.world.timeline import START, Timeline
from tests.world.world import TENANT, SimulatedWorld, simulated

SIGN_UP, LEAVES = Act(5, "k.subscribe", how=("email",)), Act(60, "k.unsubscribe", how=("email",))


@pytest.mark.parametrize("seed", [3, 44])
def test_a_seed_is_lived_the_same_way_again(seed: int) -> None:
    first, again = live(drawn(seed)), live(drawn(seed))
    assert (first.story, first.calls, first.fired) == (again.story, again.calls, again.fired)
    assert first.calls > 0


def test_what_people_did_and_what_we_did_is_told_with_times() -> None:
    text = told(live(Plan(people=(Beginning("out", "out"),), acts=(SIGN_UP,))))
    assert "00:05.0  person 1 in Klaviyo: subscribe email (told after 2.0 s)" in text
    assert "we: PUT /profiles/person 1/attributes/comms" in text


def test_a_plan_is_shrunk_to_what_it_needs_and_can_be_written_down() -> None:
    plan = drawn(7)
    noisy = replace(plan, acts=(*plan.acts, LEAVES, *plan.acts), chance=7)

    def still_fails(candidate: Plan) -> bool:
        return any(act.what == LEAVES.what for act in candidate.acts)

    small = shrunk(noisy, still_fails)
    assert [act.what for act in small.acts] == ["k.unsubscribe"]
    assert (small.faults, small.chance, len(small.people)) == ((), None, 1)
    assert eval(written(small), {name.__name__: name for name in (Plan, Act, Fault, Beginning)}) == small  # noqa: S307 - our own text


def test_an_act_that_changes_nothing_visible_is_no_decision() -> None:
    lived = live(Plan(acts=(Act(5, "o.in unstamped", how=("email",)),)))
    assert lived.broken == ()


def test_strands_go_on_in_the_order_of_time() -> None:
    timeline, heard = Timeline(), list[tuple[str, float]]()

    def strand(name: str, *waits: float) -> Callable[[], None]:
        def speak() -> None:
            for seconds in waits:
                timeline.pause(seconds)
                heard.append((name, timeline.seconds))

        return speak

    timeline.spawn(strand("slow", 3, 3))
    timeline.spawn(strand("quick", 1, 1, 3))
    timeline.run(START + 5.5)
    assert heard == [("quick", 1), ("quick", 2), ("slow", 3), ("quick", 5)]
    timeline.run(START + 10)
    assert heard[-1] == ("slow", 6)


class Desk:
    """A worker that answers what it is told, one answer after the other, and remembers the tasks."""

    def __init__(self, world: SimulatedWorld, *statuses: int) -> None:
        self.world = world
        self.statuses = list(statuses)
        self.came: list[tuple[str, float]] = []
        world.work = self.work  # type: ignore[method-assign]  # stands in for the workers

    def work(self, task: Any, headers: Any, settle: Callable[[int], None]) -> None:
        self.came.append((json.loads(task.body)["id"], round(self.world.timeline.seconds, 1)))
        settle(self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
def world() -> Any:
    with simulated():
        yield SimulatedWorld(Plan())


def a_job(world: SimulatedWorld, id: str) -> Sweep:
    return Sweep(tenant=TENANT, id=id, accepted_at=world.clock())


def put(world: SimulatedWorld, id: str, **how: Any) -> list[bool]:
    """Put a job as product code does, and return whether its name was new."""
    answers: list[bool] = []
    queue = world.process().services.queue

    def strand() -> None:
        if "name" in how:
            answers.append(queue.put_named(a_job(world, id), world.tenant(), **how))
        else:
            queue.put(a_job(world, id), world.tenant(), **how)

    world.timeline.spawn(strand)
    world.timeline.run(world.timeline.now + 0.1)
    return answers


def test_a_task_that_fails_comes_again_later_and_later(world: SimulatedWorld) -> None:
    desk = Desk(world, 500, 500, 0)
    put(world, "a")
    world.timeline.run(START + 30)
    gaps = [round(after[1] - before[1]) for before, after in zip(desk.came, desk.came[1:], strict=False)]
    assert gaps == [1, 2, 4]


def test_a_name_is_blocked_for_a_day(world: SimulatedWorld) -> None:
    Desk(world)
    assert put(world, "a", name="n", delay=0.0) == [True]
    assert put(world, "b", name="n", delay=0.0) == [False]
    world.timeline.run(world.timeline.now + 86_401)
    assert put(world, "c", name="n", delay=0.0) == [True]


def test_an_answer_of_503_holds_the_whole_queue_back(world: SimulatedWorld) -> None:
    desk = Desk(world, 503)
    put(world, "a")
    put(world, "b", delay=0.2)
    world.timeline.run(START + 30)
    assert [id for id, at in desk.came if at < 2] == ["a"]
    assert {id for id, _ in desk.came} == {"a", "b"}


def test_a_queue_that_is_paused_keeps_its_tasks(world: SimulatedWorld) -> None:
    desk, name = Desk(world), world.tenant().queue_name(Direction.INBOUND)
    world.queue.pause(name)
    put(world, "a")
    world.timeline.run(START + 30)
    assert desk.came == []
    world.queue.resume(name)
    world.timeline.run(START + 31)
    assert [id for id, _ in desk.came] == ["a"]


def test_a_death_ends_everything_that_runs_in_the_process(world: SimulatedWorld) -> None:
    process, seen = world.process(), list[str]()

    def waits() -> None:
        try:
            process.wait(5)
        except DiedError:
            seen.append("ended")

    def dies() -> None:
        with pytest.raises(DiedError):
            process.die()

    world.timeline.spawn(waits)
    world.timeline.spawn(dies)
    world.timeline.run(START + 10)
    assert seen == ["ended"]
    assert process not in world._processes


def test_a_fault_is_taken_once_and_one_that_lasts_as_long_as_it_does() -> None:
    faults = Faults([Fault(5, "omneo", "503"), Fault(5, "klaviyo", "429", lasts=10, about="POST *")])
    assert [faults.take("omneo", at, "GET /x") for at in (4, 5, 6)] == ["", "503", ""]
    assert [faults.take("klaviyo", at, "POST /x") for at in (4, 6, 14, 16)] == ["", "429", "429", ""]
    assert faults.take("klaviyo", 7, "GET /x") == ""


def test_every_kind_of_consent_act_is_done_by_a_plan_of_its_own() -> None:
    for name, _ in CONSENT_ACTS:
        plan = Plan(
            people=(Beginning("in", "in"), Beginning("out", "out")), acts=(Act(5, name, how=("email", 60)),)
        )
        others = replace(plan, acts=(replace(plan.acts[0], who=1),))
        assert live(plan).fired[f"act {name}"] + live(others).fired[f"act {name}"]
