"""The guards on which the laws rest, and how a test takes each out: it replaces a line of the product during the test.

A guard is named by its function and by its text there. If the function no longer holds the text, the test fails: a
guard that has moved must not seem to be tested.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import FunctionType
from typing import Any

from tests.world.plans import Plan


def _any(plan: Plan) -> bool:
    return True


def _acts(*families: str) -> Callable[[Plan], bool]:
    """Return whether a plan has an act of each of these beginnings."""
    return lambda plan: all(any(act.what.startswith(family) for act in plan.acts) for family in families)


@dataclass(frozen=True)
class Cut:
    """A place of a guard: the function ("module:function"), its text there, and the text without the guard."""

    function: str
    text: str
    without: str


@dataclass(frozen=True)
class Guard:
    """A guard, with all its places. Chance finds its absence within the first `within` histories. `among` names the
    histories that can show the absence, so that the test plays only those. If chance is too rare, a named `story` finds
    it.
    """

    cuts: tuple[Cut, ...]
    within: int
    among: Callable[[Plan], bool] = _any
    story: str = ""


@contextmanager
def taken_out(guard: Guard) -> Iterator[None]:
    """Take a guard out as long as this lasts.

    Raises:
        LookupError: its text is not there.
    """
    with ExitStack() as stack:
        for cut in guard.cuts:
            stack.enter_context(_made(cut))
        yield


@contextmanager
def _made(cut: Cut) -> Iterator[None]:
    function = _function(cut.function)
    code = function.__code__
    function.__code__ = _changed(function, cut).__code__
    try:
        yield
    finally:
        function.__code__ = code


def _function(name: str) -> FunctionType:
    module, _, path = name.partition(":")
    found: Any = import_module(module)
    for part in path.split("."):
        found = inspect.getattr_static(found, part)
    found = getattr(found, "__func__", found)
    function = inspect.unwrap(found)
    assert isinstance(function, FunctionType)
    return function


def _changed(function: FunctionType, cut: Cut) -> FunctionType:
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(cut.text) != 1:
        raise LookupError(f"{cut.function} does not hold its guard once: {cut.text}")
    lines = source.replace(cut.text, cut.without).splitlines(keepends=True)
    start = next(number for number, line in enumerate(lines) if line.startswith("def "))  # without decorators
    # Its names are the module's own; a method that uses `super` or a closure would need more than this.
    names = dict(function.__globals__)
    text = "from __future__ import annotations\n" + "".join(lines[start:])
    exec(compile(text, cut.function, "exec"), names)  # noqa: S102 - it is the product's own text, one line of it changed
    made = names[function.__name__]
    assert isinstance(made, FunctionType)
    return made


_RULES = "shared.consent.rules"
_A_NEW_ID = '__import__("uuid").uuid4().hex'

GUARDS: dict[str, Guard] = {
    "echo rule": Guard(
        (
            Cut(
                f"{_RULES}.whose:verdicts",
                "found |= dict.fromkeys(_our_opt_ins(memory), Verdict.OURS)",
                "pass",
            ),
        ),
        within=300,
    ),
    "call under way": Guard(
        (
            Cut(
                f"{_RULES}.memory:Call.is_under_way",
                "return self.landed_at is None and now < self.last_at + UNDER_WAY",
                "return False",
            ),
        ),
        within=0,
        # The first look also mends a consent that lands within three minutes, and a flush one that Klaviyo reports at
        # once.
        story="she opts out in Omneo before a subscribe that lands late, which Klaviyo tells an hour later",
    ),
    "look again": Guard(
        (
            Cut(
                "shared.consent.looks:look_at",
                "once_a_window(look, tenant, *about, queue=services.queue, clock=services.clock, after=after)",
                "return",
            ),
        ),
        within=300,
    ),
    "stamp ahead": Guard(
        (
            Cut(
                f"{_RULES}.learning:with_omneo",
                "if stamp is not None and stamp > read_at + CLOCKS_APART:",
                "if False:",
            ),
            # The stamp is not noted either when Omneo reports it.
            Cut(
                "shared.consent.stamps_ahead:StampsAhead.ahead_in",
                "if stamp is not None and stamp > now + CLOCKS_APART",
                "if False",
            ),
        ),
        within=100,
    ),
    "written stage": Guard(
        (
            Cut(f"{_RULES}.learning:written", "replace(event, is_written=True)", "event"),
            Cut(
                f"{_RULES}.results:_changes",
                "if not is_written and not same(name, comms.get(name), value)",
                "if not same(name, comms.get(name), value)",
            ),
        ),
        within=0,
        story="she opts in without a stamp after her opt-in stamped ahead was taken back",
    ),
    "read last": Guard(
        (
            Cut(
                "shared.consent.flush:flush",
                "    ready = _Ready.of(entries, look)\n    read_at = services.clock()\n    match = _match(tenant, services, look)\n",
                "    read_at = services.clock()\n    match = _match(tenant, services, look)\n    ready = _Ready.of(entries, look)\n",
            ),
            # Nor is it read again where the answer that it waits for took long.
            Cut("shared.consent.to_omneo:is_fresh", "now - read_at <= _FRESH", "True"),
        ),
        within=0,
        story="she opts out in Omneo while a flush that has read Omneo waits for Klaviyo",
    ),
    "turn lease": Guard(
        (Cut("shared.storage.leases:Leases._taken_over", "or not self._is_free(held)", ""),), within=1000
    ),
    "ownership look-up": Guard(
        (
            Cut(
                "shared.profiles.rules.owners:_ours",
                "if owner is not None and not owner.holder:",
                "if owner is not None:",
            ),
        ),
        within=3000,
        among=_acts("p."),
    ),
    "deletion re-read": Guard(
        (Cut("shared.profiles.deleted:_lives", "if profile is None or not profile.lives:", "if True:"),),
        within=0,
        story="the deletion comes an hour late and she has been restored",
    ),
    "record order": Guard(
        (
            Cut(
                "shared.records.outbox:Outbox._parcels_of",
                "{moment:%Y%m%dT%H%M%S%f} {source} {job}",
                "{job[::-1]} {source}",
            ),
        ),
        within=3000,
        among=_acts("s.record"),
    ),
    "keyset paging": Guard(
        (
            Cut(
                "shared.resync.rules.place:Place.after",
                "if at is None or (self.made_at is not None and at <= self.made_at):",
                "if True:",
            ),
            Cut(
                "shared.resync.rules.place:Place.window",
                "max(0, self.count - max(1, PAGE_SIZE // _SHOWN_AGAIN))",
                "self.count",
            ),
            Cut(
                "shared.resync.rules.place:Place.unread",
                "return None if found is None else len(ids) - found - 1",
                "return len(ids)",
            ),
        ),
        within=0,
        story="somebody is deleted in Omneo while a run reads page after page",
    ),
    "claim": Guard(
        (
            Cut(
                "shared.rewards.claims:RewardClaims.take",
                'found.fields.get("state") == "working" and is_ahead(found, "until", now)',
                "False",
            ),
        ),
        within=1000,
        among=_acts("s.reward"),
    ),
    "unique_id": Guard(
        (
            Cut(
                "shared.klaviyo.client:KlaviyoClient.create_event",
                '"attributes": attributes',
                f'"attributes": {{**attributes, "unique_id": {_A_NEW_ID}}}',
            ),
        ),
        within=300,
        among=_acts("s.event"),
    ),
    "look at who was synced during a bulk import": Guard(
        (
            Cut(
                "shared.resync.sync_import_ends:SyncImportEnds._end",
                "or mark_of(synced) != row.mark ",
                "",
            ),
        ),
        within=0,
        story="she changes while an import with her older name is under way",
    ),
    "note of what a bulk import fills": Guard(
        (
            Cut(
                "shared.resync.sync_import_ends:SyncImportEnds._end",
                "if is_there and not row.filled <= synced.filled:",
                "if False:",
            ),
        ),
        within=0,
        story="her name is emptied while an import with it is under way",
    ),
    "note of a bulk import before the call": Guard(
        (
            Cut(
                "shared.resync.syncs_in_bulk:_Run._start",
                'logs.write(logging.WARNING, "a bulk import may be lost", reason=str(error), syncs=len(fits))',
                "self._imports.end(name, one.id)",
            ),
        ),
        within=0,
        story="she changes while an import is under way whose answer was lost",
    ),
    "inbox mark": Guard(
        (
            Cut(
                "shared.consent.inbox:entry_id",
                'text = f"{account}|{event_id}|{topic}" if topic else f"{account}|{event_id}"',
                f"text = {_A_NEW_ID}",
            ),
        ),
        within=300,
        among=_acts("k."),
    ),
}
