"""Lives one plan from its beginning until it is quiet, and judges it."""

from collections import Counter
from dataclasses import dataclass
from functools import partial

from tests.world import acts, laws, operators, people
from tests.world.plans import MINUTE, Plan
from tests.world.timeline import START
from tests.world.world import SimulatedWorld, simulated

SIX_MINUTES = 6 * MINUTE
_SWEEP = 5 * MINUTE
_ROUNDS = 12
_RUNS = ("op.resync", "op.repair", "op.reconcile")
_NEVER_TOLD = ("k.merge", "k.delete")  # Klaviyo has no webhook that names the person


@dataclass(frozen=True)
class Lived:
    """The result of a history: the broken laws, the counted acts and faults, and the story, with seconds since its beginning."""

    plan: Plan
    broken: tuple[str, ...]
    fired: Counter[str]
    story: tuple[tuple[float, str], ...]
    calls: int

    @property
    def went_wrong(self) -> bool:
        """Whether a law was broken."""
        return bool(self.broken)

    @property
    def law(self) -> str:
        """The first law that was broken, without its details."""
        return self.broken[0].split(":")[0] if self.broken else ""


def live(plan: Plan) -> Lived:
    """Live a plan."""
    with simulated(plan.page_size, plan.many_syncs):
        world = SimulatedWorld(plan)
        for number, beginning in enumerate(plan.people, 1):
            people.born(world, number, beginning)
        acts.scheduled(world, plan.acts)
        _sweep_along(world)
        world.timeline.run(START + _end_of(plan) + 1.0)
        _settle(world)
        if _has_untold(plan):
            _compare(world)
        laws.judge_consent(world)
        _until_all_is_told(world)
        _judge(world)
        return Lived(
            plan,
            tuple(dict.fromkeys(world.broken)),
            world.fired + world.faults.fired,
            tuple(world.story),
            len(world.calls),
        )


def _has_untold(plan: Plan) -> bool:
    """Return whether an act was never reported to us, and no run has looked at everybody since."""
    untold = [act for act in plan.acts if not act.told or act.what in _NEVER_TOLD]
    runs = [act for act in plan.acts if act.what in _RUNS]
    is_seen = (
        [act.what for act in runs] == ["op.resync"]
        and all((act.what in _NEVER_TOLD or act.what[0] in "op") and act.at < runs[0].at for act in untold)
        and not plan.faults
    )
    return bool(untold) and not is_seen


def _end_of(plan: Plan) -> float:
    """Return the seconds at which the last act was told and the last fault is over."""
    told = [act.at + seconds for act in plan.acts for seconds in (0.0, *act.told)]
    return max([1.0, *told, *(fault.at + fault.lasts for fault in plan.faults)])


def _settle(world: SimulatedWorld) -> None:
    """Let six minutes pass after the last news."""
    for _ in range(_ROUNDS):
        quiet = max(world.news_at, START + world.faults.last_at) + SIX_MINUTES
        if world.timeline.now >= quiet:
            return
        world.timeline.run(quiet)


def _compare(world: SimulatedWorld) -> None:
    """Let the schedule compare both sides, because an act was never reported to us."""
    untold = {act.what.partition(".")[0] for act in world.plan.acts if not act.told}
    changes_persons = "p" in untold or any(act.what in _NEVER_TOLD for act in world.plan.acts)
    runs = [*(["heal"] if "k" in untold else []), "resync" if changes_persons else "repair"]
    for run in runs:
        operators.run(world, run)
    world.note(f"an operator: {' and '.join(runs)}")
    world.timeline.run(world.timeline.now + 2 * SIX_MINUTES)
    _settle(world)


def _until_all_is_told(world: SimulatedWorld) -> None:
    """Let late webhooks come, and let waiting jobs run."""
    for _ in range(_ROUNDS):
        last = world.timeline.last_due
        if last is None:
            return
        world.timeline.run(last + SIX_MINUTES)


def _judge(world: SimulatedWorld) -> None:
    laws.judge_consent(world)
    laws.judge_ledger(world)
    laws.judge_rest(world)
    laws.judge_desk(world)
    laws.judge_interactions(world)
    laws.judge_persons(world)
    laws.judge_shop(world)


def _sweep_along(world: SimulatedWorld) -> None:
    """Call the sweeps as the schedule does, as long as there is anything to sweep."""
    plan = world.plan
    times = {act.at + seconds for act in plan.acts for seconds in (0.0, *act.told)} | {
        fault.at for fault in plan.faults
    }
    ticks = {(int(time // _SWEEP) + n) * _SWEEP for time in times for n in (1, 2)}
    for tick in sorted(ticks):
        world.timeline.at(START + tick, partial(world.scheduled, "sweep-inbox"))
