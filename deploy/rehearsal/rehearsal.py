"""The order of a rehearsal: it removes the leftovers of a dead run, tries each assumption, and removes everything that
it made. `checks/` tries an assumption; `deploy/tenants/rehearse.py` starts the rehearsal and prints the results.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from deploy.rehearsal.assumption import Answer, Assumption, CannotBeTried, Verdict, untried
from deploy.rehearsal.clients import RehearsedOmneo
from deploy.rehearsal.exchanges import Exchange, Listener, ListeningServices
from deploy.rehearsal.journal import Journal, Made, Turn
from deploy.rehearsal.made import remove
from deploy.rehearsal.stage import Stage
from shared.errors import ExtensionError, ProfileNotFoundError, ServiceError
from shared.services import Services
from shared.tenants.tenants import Tenant


@dataclass(frozen=True)
class Result:
    """The result of one assumption: the verdict, the evidence, and the calls that were made, as they may be shown."""

    name: str
    verdict: Verdict
    because: str
    evidence: dict[str, Any] = field(default_factory=dict)
    calls: tuple[dict[str, Any], ...] = ()
    lines: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as the report and the journal keep it."""
        return {
            "name": self.name,
            "verdict": self.verdict.value,
            "because": self.because,
            "evidence": self.evidence,
            "calls": list(self.calls),
            "lines": list(self.lines),
        }

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Result":
        """Read the output of `to_json`."""
        return cls(
            row["name"],
            Verdict(row["verdict"]),
            row["because"],
            row["evidence"],
            tuple(row["calls"]),
            tuple(row["lines"]),
        )


@dataclass(frozen=True)
class Order:
    """The order of a rehearsal. `resume` keeps the results of an interrupted run; `revision` is another revision of
    Klaviyo's API, "" for the usual one.
    """

    chosen: Sequence[Assumption]
    profile_id: str
    domain: str = "example.com"
    resume: bool = False
    revision: str = ""


@dataclass(frozen=True)
class Rehearsed:
    """A run that has ended: its results, and the things that it could not remove."""

    results: tuple[Result, ...]
    left: tuple[Made, ...]

    @property
    def all_hold(self) -> bool:
        """Whether every assumption that was tried holds."""
        return all(result.verdict is not Verdict.FAILS for result in self.results)


def rehearse(
    tenant: Tenant,
    order: Order,
    services: Services,
    *,
    tell: Callable[[Result], None],
    listeners: Iterable[Listener] = (),
) -> Rehearsed:
    """Try the ordered assumptions on the tenant, report each result as it comes, and remove everything that was made.

    If it is interrupted, it removes what it can and passes the interruption on. The next run removes the leftovers of a
    killed one.

    Raises:
        BusyError: another rehearsal of the tenant is under way.
        ProfileNotFoundError: Omneo does not have the named profile.
        ServiceError: Klaviyo or Omneo cannot be reached at all.
    """
    turn = Turn(services, tenant.name)
    try:
        calls: list[Exchange] = []
        doubts: list[Exchange] = []
        heard: tuple[Listener, ...] = (calls.append, partial(_note_a_doubt, doubts), *listeners)
        listening = ListeningServices.around(services, *heard, revision=order.revision)
        journal = Journal.open(services, tenant.name)
        stage = Stage(
            tenant,
            listening,
            journal=journal,
            turn=turn,
            profile_id=order.profile_id,
            domain=order.domain,
            calls=calls,
        )
        remove_all(stage)
        _check_profile(order.profile_id, stage.omneo)
        subject = _subject(tenant, order, services)
        journal.begin(resume=order.resume, of=subject, keeps=not order.revision)
        try:
            results = [_result(row, stage, tell) for row in order.chosen]
        except BaseException:
            remove_all(stage, may_come=True)
            raise
        remove_all(stage, may_come=bool(doubts))
        left = tuple(journal.made)
        journal.finish()
        return Rehearsed(tuple(results), left)
    finally:
        turn.end()


def _note_a_doubt(doubts: list[Exchange], exchange: Exchange) -> None:
    """Note a call that may have made something, although nobody has said so."""
    if exchange.method == "POST" and (not exchange.status or exchange.status >= 500):
        doubts.append(exchange)


def _subject(tenant: Tenant, order: Order, services: Services) -> str:
    """Return what the results are true of."""
    revision = services.settings.klaviyo_revision
    return " ".join((revision, tenant.klaviyo_account_id, order.profile_id, order.domain))


def _check_profile(id: str, omneo: RehearsedOmneo) -> None:
    try:
        known = omneo.profile(id) is not None
    except ServiceError:
        return  # each check says so for itself
    if not known:
        raise ProfileNotFoundError("Omneo has no such profile: name one of a test customer, by its id.")


def remove_all(stage: Stage, *, may_come: bool = False) -> None:
    """Remove everything that is noted, the last first; a thing that cannot be removed now stays noted. With `may_come`,
    a thing that is not found stays noted too: the call that makes it was cut off, and a service finds a new thing only
    seconds later.
    """
    for made in reversed(list(stage.journal.made)):
        try:
            was_there = remove(made, stage.klaviyo, stage.omneo)
        except ServiceError:
            continue
        if was_there or not may_come:
            stage.journal.forget(made)


def _result(assumption: Assumption, stage: Stage, tell: Callable[[Result], None]) -> Result:
    known = stage.journal.result(assumption.name)
    result = Result.from_json(known) if known else _tried(assumption, stage)
    if not known:
        stage.journal.keep(assumption.name, result.to_json())
    tell(result)
    return result


def _tried(assumption: Assumption, stage: Stage) -> Result:
    tried = assumption.tried
    if isinstance(tried, CannotBeTried):
        by_hand = f". By hand: {tried.by_hand}" if tried.by_hand else ""
        return Result(assumption.name, Verdict.UNTRIED, f"{tried.because}{by_hand}")
    stage.begin()
    answer = _asked(tried.check, stage)
    return Result(
        assumption.name,
        answer.verdict,
        answer.because,
        dict(stage.evidence),
        tuple(_each_once(call.shown() for call in stage.calls)),
        tuple(dict.fromkeys(map(str, stage.calls))),
    )


def _each_once(calls: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the calls that differ, each with how often it was made: a check that waits makes one call many times."""
    counts = Counter(json.dumps(call) for call in calls)
    for text, times in counts.items():
        yield {**json.loads(text), "times": times}


def _asked(check: Callable[[Stage], Answer], stage: Stage) -> Answer:
    try:
        return check(stage)
    except ServiceError as error:
        said = f"answered {error.status}" if error.status else "did not answer"
        return untried(f"{error.service} {said} to a call that the check needs")
    except ExtensionError as error:
        return untried(f"the check was given up: {error}")
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError):
        return untried("an answer has another form than the check can read")
