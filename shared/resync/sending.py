"""All calls by which a run over the whole base asks Klaviyo for consents, as of the dates of their decisions.

They are made moments after Klaviyo's consents were read. An opt-in is historical: nobody is asked to confirm again, and no welcome flow
starts. Each call is remembered before it is made (`_begin`), so that its events are known as ours, and once more with Klaviyo's answer. No
other module of a run remembers its calls.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from shared.consent.asking import AskedConsent, Asking
from shared.consent.ledger import ConsentRecord
from shared.consent.rules.comparison import still_asked
from shared.consent.rules.learning import with_stamps_ahead
from shared.consent.rules.memory import LANDING, Memory
from shared.consent.rules.step import Outcome, Reason
from shared.consent.stamps_ahead import StampsAhead
from shared.consent.to_omneo import record_decisions
from shared.consent_events import Consent, Direction
from shared.errors import CannotSucceedError, NotFoundError, RefusedError
from shared.jobs.jobs import CompareConsent
from shared.jobs.rules.causes import Cause
from shared.klaviyo.bulk import READ_AT_ONCE, SUBSCRIBED_AT_ONCE, UNSUBSCRIBED_AT_ONCE, Subscriber
from shared.profiles.consent_calls import consent_rules
from shared.profiles.opt_outs import queue_pull
from shared.resync.comparing import Asked
from shared.resync.rules.run import in_parts
from shared.services import Services
from shared.tenants.tenants import Tenant

_ITEM = "/data/attributes/profiles/data/"
_WORDS = {"SUBSCRIBED": "subscribed", "UNSUBSCRIBED": "unsubscribed"}
# How many opt-outs are remembered, for which Klaviyo's jobs may still be under way.
_REMEMBERED = 20_000

Together = list[Asked]  # of one profile, in one row of a call


@dataclass
class ConsentSending:
    """Asks for the consents of one stretch of a run. An address that several share is subscribed only if none of them has opted out since."""

    run_id: str
    tenant: Tenant
    services: Services
    workers: Executor
    _opted_out: dict[tuple[Consent, str], datetime | None] = field(default_factory=dict)

    def ask(self, asked: Sequence[Asked]) -> list[dict[str, str]]:
        """Ask for consents, opt-outs first; return the findings about the consents that Klaviyo refuses.

        Raises:
            CannotSucceedError: the master list does not exist.
            ServiceError, OwnServiceError: a service, the store or the queue cannot answer now; all consents may be asked for again.
        """
        by_outcome = {outcome: [one for one in asked if one.step.outcome is outcome] for outcome in Outcome}
        list(self.workers.map(self._pull, [one for one in asked if one.step.opted_out_at is not None]))
        outs = by_outcome[Outcome.UNSUBSCRIBE]
        for one in outs:
            self._remember_opt_out(one)
        refused = self._change(_together(outs), "out", UNSUBSCRIBED_AT_ONCE)
        ins = [one for one in by_outcome[Outcome.SUBSCRIBE] if not self._is_opted_out(one)]
        list_id = self.tenant.settings.master_list_id or ""
        # A person with only SMS does not belong on the master list, and a transactional SMS consent never does.
        apart = [one for one in ins if list_id and one.step.consent is Consent.SMS_TRANSACTIONAL]
        rows = _together([one for one in ins if one not in apart])
        with_email = [row for row in rows if any(one.step.consent is Consent.EMAIL for one in row)]
        others = [row for row in rows if row not in with_email] if list_id else []
        refused += self._change(with_email if list_id else rows, "in", SUBSCRIBED_AT_ONCE, list_id)
        refused += self._change([*others, *_together(apart)], "in", SUBSCRIBED_AT_ONCE)
        return refused

    def _remember_opt_out(self, one: Asked) -> None:
        key = _key(one)
        known = self._opted_out.pop(key, one.step.decided_at)
        undated = known is None or one.step.decided_at is None
        self._opted_out[key] = None if undated else max(filter(None, (known, one.step.decided_at)))
        if len(self._opted_out) > _REMEMBERED:
            del self._opted_out[next(iter(self._opted_out))]

    def _is_opted_out(self, one: Asked) -> bool:
        """Return whether another profile with the address has opted out, and this opt-in is not the later decision."""
        if _key(one) not in self._opted_out:
            return False
        opted_out_at = self._opted_out[_key(one)]
        return opted_out_at is None or one.step.decided_at is None or one.step.decided_at <= opted_out_at

    def _change(
        self, rows: Sequence[Together], direction: Direction, most: int, list_id: str = ""
    ) -> list[dict[str, str]]:
        told = []
        for part in in_parts(rows, most):
            begun = [row for row in self.workers.map(lambda row: self._begin(row, direction), part) if row]
            if not begun:
                continue
            self._look_later(begun)
            refused = self._bulk(begun, direction, list_id)
            accepted = [one for row in begun if row not in refused for one in row]
            list(self.workers.map(lambda one: self._asking.accepted(_asked(one, direction)), accepted))
            list(self.workers.map(lambda one: self._asking.refused(_asked(one, direction)), _flat(refused)))
            told += [
                {
                    "profile": one.profile_id,
                    "what": f"failed: Klaviyo refuses the consent for {one.step.consent.value}",
                }
                for one in _flat(refused)
            ]
        return told

    def _bulk(self, part: list[Together], direction: Direction, list_id: str) -> list[Together]:
        """Ask for the consents of some profiles in one call; return those that Klaviyo refuses, found by halves if it names none."""
        klaviyo = self.services.klaviyo(self.tenant)
        people = [_subscriber(row) for row in part]
        try:
            if direction == "in":
                klaviyo.subscribe_many(people, list_id=list_id)
            else:
                klaviyo.unsubscribe_many(people)
        except NotFoundError as error:
            raise CannotSucceedError(
                "Klaviyo knows no list with the id in master_list_id. Once the setting is right, the run goes on by itself.",
                cause=Cause.MASTER_LIST,
            ) from error
        except RefusedError as error:
            if error.status != 400:
                raise
            return self._without_refused(part, blamed(error, len(part)), direction, list_id)
        return []

    def _without_refused(
        self, part: list[Together], places: Mapping[int, str], direction: Direction, list_id: str
    ) -> list[Together]:
        if len(part) == 1 and len(part[0]) == 1:
            return part
        if len(part) == 1:  # one consent that Klaviyo refuses must not hold up the other
            return [row for one in part[0] for row in self._bulk([[one]], direction, list_id)]
        if not places:
            middle = len(part) // 2
            return self._bulk(part[:middle], direction, list_id) + self._bulk(
                part[middle:], direction, list_id
            )
        rest = [row for index, row in enumerate(part) if index not in places]
        refused = self._bulk(rest, direction, list_id) if rest else []
        for index in sorted(places):
            refused += (
                self._bulk([part[index]], direction, list_id) if len(part[index]) > 1 else [part[index]]
            )
        return refused

    def _pull(self, one: Asked) -> None:
        queue_pull(one.step, self.tenant, self.services, profile_id=one.profile_id)

    # The memory of our own calls

    def _begin(self, row: Together, direction: Direction) -> Together:
        """Remember and record the coming calls; return those that are still needed by the present knowledge."""
        begun = [one for one in row if self._asking.begin(_asked(one, direction), partial(self._still, one))]
        records = [
            self._record(one, direction) for one in begun if one.step.reason is not Reason.OPT_OUT_UNDONE
        ]
        record_decisions(records, row[0].profile_id, self.tenant, self.services)
        return begun

    def _still(self, one: Asked, memory: Memory) -> Memory | None:
        now, stamps = self.services.clock(), StampsAhead.of(self.services)
        known = {memory.channel: memory}
        ahead = stamps.told(self.tenant, one.profile_id, one.comms, known)
        memory = with_stamps_ahead(known, ahead)[memory.channel]
        unset, read_at = consent_rules(self.tenant).unset[one.step.consent.channel], one.read_at or now
        return still_asked(one.step, memory, one.comms, one.subject, unset=unset, read_at=read_at, now=now)

    def _look_later(self, rows: Sequence[Together]) -> None:
        """Have both sides compared when the call must have landed, a hundred profiles a job."""
        for ids in in_parts(dict.fromkeys(row[0].profile_id for row in rows), READ_AT_ONCE):
            look = CompareConsent(
                tenant=self.tenant.name,
                id=self.services.new_id(),
                accepted_at=self.services.clock(),
                profile_ids=tuple(ids),
            )
            self.services.queue.put(look, self.tenant, delay=LANDING.total_seconds())

    @property
    def _asking(self) -> Asking:
        return Asking(self.tenant, self.services)

    def _record(self, one: Asked, direction: Direction) -> ConsentRecord:
        consent, at = one.step.consent, one.step.decided_at
        return ConsentRecord(
            at=at or self.services.clock(),
            channel=consent.channel,
            before=_WORDS.get(_held(one), "unset"),
            after="subscribed" if direction == "in" else "unsubscribed",
            source="resync",
            event_id=f"{consent.value} {direction} {at.isoformat() if at else f'undated {self.run_id}'}",
        )


def counted(told: Sequence[Mapping[str, str]]) -> Counter[str]:
    """Return how often each thing is told."""
    return Counter(row["what"] for row in told)


def blamed(error: RefusedError, count: int) -> dict[int, str]:
    """Return, by their place, the profiles that a refusal names, and the attribute at fault."""
    found: dict[int, str] = {}
    for pointer in error.fields:
        place, _, rest = pointer.partition(_ITEM)[2].partition("/")
        if place.isdecimal() and int(place) < count:
            found[int(place)] = rest.rpartition("/")[2]
    return found


def _asked(one: Asked, direction: Direction) -> AskedConsent:
    return AskedConsent(
        one.profile_id, one.subject.klaviyo_id, one.step.consent, direction, one.step.decided_at
    )


def _key(one: Asked) -> tuple[Consent, str]:
    return one.step.consent, _address(one).casefold()


def _together(asked: Sequence[Asked]) -> list[Together]:
    """Return the consents of each row of a call: those of one profile, unless the two addresses belong to two Klaviyo profiles."""
    rows: dict[tuple[str, str], Together] = {}
    for one in asked:
        rows.setdefault((one.profile_id, one.subject.klaviyo_id), []).append(one)
    return list(rows.values())


def _flat(rows: Sequence[Together]) -> list[Asked]:
    return [one for row in rows for one in row]


def _subscriber(row: Together) -> Subscriber:
    addresses = {one.step.consent.channel.value: _address(one) for one in row}
    return Subscriber(
        email=addresses.get("email", row[0].email),
        phone_number=addresses.get("sms", ""),
        consents={one.step.consent: one.at for one in row},
        id=row[0].subject.klaviyo_id,
    )


def _address(one: Asked) -> str:
    """Return the address: Klaviyo finds the profile to unsubscribe only by the address that it has."""
    return one.subject.mailed if one.step.outcome is Outcome.UNSUBSCRIBE else one.subject.address


def _held(one: Asked) -> str:
    found: Any = one.subject.subscriptions
    kind = "transactional" if one.step.consent is Consent.SMS_TRANSACTIONAL else "marketing"
    for name in (one.step.consent.channel.value, kind):
        found = found.get(name) if isinstance(found, Mapping) else None
    return str(found.get("consent") or "") if isinstance(found, Mapping) else ""
