"""The calls to Klaviyo for the consents that a comparison has decided on. `consent/rules/comparison.py` decides.

Right before a call, the memory is asked again whether the call is still right; then the call is remembered and made. The ledger records it, and a
look follows when it must have landed.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from shared import logs
from shared.consent.asking import AskedConsent, Asking
from shared.consent.former_numbers import mark_of_number
from shared.consent.ledger import ConsentRecord, ensure_ledger_key
from shared.consent.looks import look_after_a_call
from shared.consent.memories import ConsentMemories, Memories
from shared.consent.rules.comparison import ConsentRules, consent_steps, still_asked
from shared.consent.rules.held import Subject
from shared.consent.rules.learning import with_stamps_ahead
from shared.consent.rules.memory import Memory
from shared.consent.rules.step import Outcome, Step
from shared.consent.rules.whose import untold
from shared.consent.spreading import flush_soon
from shared.consent.stamps_ahead import StampsAhead
from shared.consent.to_omneo import note_decisions, record_decisions
from shared.consent_events import Channel, Consent, Direction
from shared.errors import CannotSucceedError, NotFoundError, RefusedError
from shared.jobs.rules.causes import Cause
from shared.klaviyo.consent_jobs import Person
from shared.profiles.opt_outs import queue_pull
from shared.services import Services
from shared.tenants.erasures import Identifier, mark_of
from shared.tenants.tenants import Tenant

# Opt-outs first.
_DIRECTIONS: Mapping[Outcome, Direction] = {Outcome.UNSUBSCRIBE: "out", Outcome.SUBSCRIBE: "in"}
_WORDS = {"SUBSCRIBED": "subscribed", "UNSUBSCRIBED": "unsubscribed"}

Trouble = RefusedError | CannotSucceedError
_NOTHING: Mapping[Channel, str] = {}


def compared(
    profile_id: str,
    comms: Mapping[str, Any],
    subjects: Mapping[Channel, Subject],
    *,
    read_at: datetime,
    tenant: Tenant,
    services: Services,
    left: Mapping[Channel, str] = _NOTHING,
) -> tuple[Memories, list[Step]]:
    """Return what is known once both sides are compared, and the steps; remember it, and note decisions of Omneo's in the ledger.

    `comms` is what Omneo showed when it was asked at `read_at`. `left` are the addresses that a sync leaves in Klaviyo, none where none does.
    """
    store, rules, now = ConsentMemories.of(services), consent_rules(tenant), services.clock()
    steps: list[Step] = []
    if left and tenant.ledger_key is None:
        tenant = ensure_ledger_key(services.tenants, tenant.name)
    marks = {channel: _mark(tenant, channel, address) for channel, address in left.items() if address}

    before = store.find(tenant.name, profile_id)
    ahead = StampsAhead.of(services).told(tenant, profile_id, comms, before)

    def both(memories: Memories) -> Memories:
        memories = with_stamps_ahead(memories, ahead)
        known, steps[:] = consent_steps(memories, comms, subjects, rules=rules, read_at=read_at, now=now)
        return {
            channel: replace(memory, mailed=marks.get(channel, memory.mailed))
            for channel, memory in known.items()
        }

    note_decisions(before, both(before), comms, profile_id=profile_id, tenant=tenant, services=services)
    after = store.change(tenant.name, profile_id, both)
    for klaviyo_id in {event.profile for memory in after.values() for event in untold(memory)} - {""}:
        # It was taken for a landing of ours, and is the person's; or a flush is at it, and this one finds nothing to do.
        flush_soon(tenant, klaviyo_id, queue=services.queue, clock=services.clock)
    return after, steps


def _mark(tenant: Tenant, channel: Channel, address: str) -> str:
    is_email = channel is Channel.EMAIL
    return mark_of(tenant, Identifier.EMAIL, address) if is_email else mark_of_number(tenant, address)


def consent_rules(tenant: Tenant) -> ConsentRules:
    """Return the tenant's settings about consent."""
    settings = tenant.settings
    unset = {
        Channel.EMAIL: settings.email_consent_unset.value,
        Channel.SMS: settings.sms_consent_unset.value,
    }
    return ConsentRules(unset, settings.sms_transactional)


@dataclass(frozen=True)
class ConsentCalls:
    """The consent calls about one profile. `comms` is what Omneo showed at `read_at`, by which the steps were decided."""

    tenant: Tenant
    profile_id: str
    subjects: Mapping[Channel, Subject]
    comms: Mapping[str, Any]
    read_at: datetime
    services: Services
    traceparent: str = ""

    def make(self, steps: Iterable[Step]) -> Trouble | None:
        """Take the steps, opt-outs first; return the error of a step that can never succeed, None if there is none.

        Raises:
            ServiceError, DisconnectedError, OwnServiceError: a service, the store or the queue cannot answer now; all steps are repeated.
        """
        taken = list(steps)
        for step in taken:
            if step.opted_out_at is not None:
                queue_pull(
                    step, self.tenant, self.services, profile_id=self.profile_id, traceparent=self.traceparent
                )
        trouble = None
        for outcome, direction in _DIRECTIONS.items():
            asked = [step for step in taken if step.outcome is outcome]
            for together in self._together(asked, direction):
                trouble = self._ask(together, direction) or trouble
        return trouble

    def _together(self, steps: list[Step], direction: Direction) -> list[list[Step]]:
        """Return the steps of each call: one for a profile, but transactional SMS never goes with the master list."""
        calls: dict[tuple[str, bool], list[Step]] = {}
        has_list = direction == "in" and bool(self.tenant.settings.master_list_id)
        for step in steps:
            apart = has_list and step.consent is Consent.SMS_TRANSACTIONAL
            calls.setdefault((self._subject(step).klaviyo_id, apart), []).append(step)
        return list(calls.values())

    def _ask(self, steps: list[Step], direction: Direction) -> Trouble | None:
        asking = Asking(self.tenant, self.services)
        asked = [(step, self._asked(step, direction)) for step in steps]
        begun = [(step, one) for step, one in asked if asking.begin(one, partial(self._still, step))]
        if not begun:
            return None
        look_after_a_call(self.tenant, self.profile_id, self.services, traceparent=self.traceparent)
        self._record([step for step, _ in begun], direction)
        trouble = self._send([step for step, _ in begun], direction)
        if isinstance(trouble, RefusedError) and len(begun) > 1:
            # One that Klaviyo will not have must not hold up the other.
            found = [(one, self._send([step], direction)) for step, one in begun]
        else:
            found = [(one, trouble) for _, one in begun]
        for one, refusal in found:
            (asking.accepted if refusal is None else asking.refused)(one)
        return next(
            (refusal for _, refusal in found if refusal is not None and not _is_of_phone(refusal)), None
        )

    def _still(self, step: Step, memory: Memory) -> Memory | None:
        return still_asked(
            step,
            memory,
            self.comms,
            self._subject(step),
            unset=consent_rules(self.tenant).unset[step.consent.channel],
            read_at=self.read_at,
            now=self.services.clock(),
        )

    def _asked(self, step: Step, direction: Direction) -> AskedConsent:
        klaviyo_id = self._subject(step).klaviyo_id
        return AskedConsent(self.profile_id, klaviyo_id, step.consent, direction, step.decided_at)

    def _send(self, steps: list[Step], direction: Direction) -> Trouble | None:
        """Make the call; return the error if Klaviyo will never accept it, None if Klaviyo has accepted it."""
        consents = [step.consent for step in steps]
        email, phone = (
            subject.mailed if direction == "out" else subject.address
            for subject in (self.subjects[Channel.EMAIL], self.subjects[Channel.SMS])
        )
        person = Person(self._subject(steps[0]).klaviyo_id, email, phone)
        klaviyo = self.services.klaviyo(self.tenant)
        list_id = self.tenant.settings.master_list_id if Consent.EMAIL in consents else None
        try:
            if direction == "out":
                klaviyo.unsubscribe(person, consents)
            else:
                klaviyo.subscribe(person, consents, list_id=list_id or "")
        except NotFoundError as error:
            if direction == "out" or not list_id:
                raise
            return CannotSucceedError(
                "Klaviyo knows no list with the id in master_list_id, so nobody was subscribed. "
                f"Once the setting is right, this job goes on by itself. ({error.status})",
                cause=Cause.MASTER_LIST,
            )
        except RefusedError as error:
            if _is_of_phone(error):
                logs.write(
                    logging.WARNING, "Klaviyo takes no SMS consent for the phone number", reason="refused"
                )
            return error
        return None

    def _record(self, steps: Iterable[Step], direction: Direction) -> None:
        """Record in the ledger what no dated decision has put there: an opt-in without a date, and transactional SMS."""
        records = []
        for step in steps:
            if step.decided_at is not None and step.consent is not Consent.SMS_TRANSACTIONAL:
                continue
            held, changed_at = _held(self._subject(step), step.consent)
            at = step.decided_at
            records.append(
                ConsentRecord(
                    at=at or self.services.clock(),
                    channel=step.consent.channel,
                    before=_WORDS.get(held, "unset"),
                    after="subscribed" if direction == "in" else "unsubscribed",
                    source="omneo",
                    event_id=f"{step.consent} {direction} {at.isoformat() if at else f'undated {changed_at}'}",
                )
            )
        record_decisions(records, self.profile_id, self.tenant, self.services)

    def _subject(self, step: Step) -> Subject:
        return self.subjects[step.consent.channel]


def _is_of_phone(error: Trouble) -> bool:
    """Tell whether Klaviyo does not serve the phone number's country, which nothing mends."""
    return isinstance(error, RefusedError) and error.field.endswith("/phone_number")


def _held(subject: Subject, consent: Consent) -> tuple[str, str]:
    """Return Klaviyo's word for a consent, and when it was given, both "" if it says nothing."""
    kind = "transactional" if consent is Consent.SMS_TRANSACTIONAL else "marketing"
    found: object = subject.subscriptions
    for name in (consent.channel.value, kind):
        found = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        return "", ""
    return str(found.get("consent") or ""), str(found.get("consent_timestamp") or "")
