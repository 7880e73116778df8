"""Makes a plan that breaks a law as small as possible: without unneeded parts, and if possible without chance."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.world.history import Lived, live
from tests.world.plans import Plan
from tests.world.story import told, written


def shrunk(plan: Plan, still_fails: Callable[[Plan], bool], *, most: int = 400) -> Plan:
    """Return the smallest plan found that still fails, after at most so many histories."""
    tries = 0
    smaller = True
    while smaller:
        smaller = False
        for candidate in _simpler(plan):
            tries += 1
            if tries > most:
                return plan
            if still_fails(candidate):
                plan, smaller = candidate, True
                break
    return plan


def _simpler(plan: Plan) -> Iterator[Plan]:
    """Yield simpler plans, the boldest steps first."""
    if plan.chance is not None:
        yield replace(plan, chance=None)
    if plan.faults:
        yield replace(plan, faults=())
    if len(plan.people) > 1:
        yield replace(plan, people=plan.people[:1], acts=tuple(act for act in plan.acts if act.who == 0))
    for part in ("acts", "faults"):
        for index in range(len(getattr(plan, part)) - 1, -1, -1):
            yield plan.without(part, index)
    yield from _plainer(plan)
    yield from _sooner(plan)


def _plainer(plan: Plan) -> Iterator[Plan]:
    """Yield the plan with one thing less that is out of the ordinary."""
    plainer = (
        replace(plan, master_list=False),
        replace(plan, double_opt_in=False),
        replace(plan, returns_own_changes=False),
        replace(plan, repeats_consent_events=True),
        replace(plan, skews=(0.0, 0.0)),
        replace(plan, people=tuple(replace(person, is_new=False) for person in plan.people)),
        *(replace(plan, landings=(seconds,)) for seconds in plan.landings if len(plan.landings) > 1),
    )
    yield from (one for one in plainer if one != plan)


def _sooner(plan: Plan) -> Iterator[Plan]:
    """Yield the plan with one act told at once and once, or one fault that does not last."""
    for index, act in enumerate(plan.acts):
        if act.told and act.told != (2.0,):
            told = replace(act, told=(2.0,))
            yield replace(plan, acts=(*plan.acts[:index], told, *plan.acts[index + 1 :]))
    for index, fault in enumerate(plan.faults):
        if fault.lasts:
            short = replace(fault, lasts=0.0)
            yield replace(plan, faults=(*plan.faults[:index], short, *plan.faults[index + 1 :]))


def shrunk_story(lived: Lived) -> str:
    """Return the story of a history that broke a law, as short as it gets, and the plan to write down."""
    law = lived.law

    def still_fails(candidate: Plan) -> bool:
        return law in {one.split(":")[0] for one in live(candidate).broken}

    small = shrunk(lived.plan, still_fails)
    return f"breaks {law}\n{told(live(small))}\n\n{written(small)}\n"
