"""Ask Klaviyo for the consents that a sync has decided on. What is decided stands in `consent/rules/plan.py`.

Each call is noted before it is sent, so that its echo is known, and recorded in the ledger; what was asked is remembered once Klaviyo has
accepted it.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from shared import logs
from shared.consent.echo_notes import EchoNotes
from shared.consent.ledger import ConsentLedger, ConsentRecord, ensure_ledger_key
from shared.consent.rules.plan import Step, Subject, Told
from shared.consent.rules.to_klaviyo import Outcome
from shared.consent_events import Channel, Consent, Direction
from shared.errors import CannotSucceedError, NotFoundError, RefusedError
from shared.klaviyo.consent_jobs import Person
from shared.profiles.opt_outs import queue_pull
from shared.services import Services
from shared.tenants.tenants import Tenant

Keep = Callable[[Mapping[Consent, Told]], None]
# Opt-outs first.
_DIRECTIONS: Mapping[Outcome, Direction] = {Outcome.UNSUBSCRIBE: "out", Outcome.SUBSCRIBE: "in"}
_WORDS = {"SUBSCRIBED": "subscribed", "UNSUBSCRIBED": "unsubscribed"}


@dataclass(frozen=True)
class ConsentCalls:
    """The consent calls of one sync. `told` is what Klaviyo was told before, `keep` remembers what it is told now."""

    tenant: Tenant
    profile_id: str
    subjects: Mapping[Channel, Subject]
    told: Mapping[Consent, Told]
    services: Services
    keep: Keep
    traceparent: str = ""

    def make(self, steps: Iterable[Step]) -> RefusedError | CannotSucceedError | None:
        """Take the steps, opt-outs first, and return what of them can never succeed, None if all did.

        Raises:
            ServiceError, DisconnectedError, OwnServiceError: what is missing now; the sync is done again.
        """
        by_outcome: dict[Outcome, list[Step]] = {}
        for step in steps:
            by_outcome.setdefault(step.outcome, []).append(step)
        for step in by_outcome.get(Outcome.PULL_OPT_OUT, ()):
            self._pull(step)
        trouble = None
        for outcome, direction in _DIRECTIONS.items():
            for together in self._together(by_outcome.get(outcome, []), direction):
                trouble = self._ask(together, direction) or trouble
        return trouble

    def _together(self, steps: list[Step], direction: Direction) -> list[list[Step]]:
        """Return the steps of each call: one for a profile, but transactional SMS never goes with the master list."""
        calls: dict[tuple[str, bool], list[Step]] = {}
        has_list = direction == "in" and bool(self.tenant.settings.master_list_id)
        for step in steps:
            apart = has_list and step.consent is Consent.SMS_TRANSACTIONAL
            profile = self.subjects[step.consent.channel].klaviyo_id
            calls.setdefault((profile, apart), []).append(step)
        return list(calls.values())

    def _ask(self, steps: list[Step], direction: Direction) -> RefusedError | CannotSucceedError | None:
        for step in steps:
            self._note(step, direction)
        try:
            self._send(steps, direction)
        except CannotSucceedError as error:
            return error
        except RefusedError as error:
            if len(steps) > 1:  # one that Klaviyo will not have must not hold up the other
                outcomes = [self._ask([step], direction) for step in steps]
                return next((found for found in outcomes if found is not None), None)
            if not error.field.endswith("/phone_number"):
                return error
            logs.write(logging.WARNING, "Klaviyo takes no SMS consent for the phone number", reason="refused")
        now = self.services.clock()
        said = {
            step.consent: Told(direction, step.stamp, now, self._subject(step).klaviyo_id) for step in steps
        }
        self.keep({consent: told.after(self.told.get(consent)) for consent, told in said.items()})
        return None

    def _send(self, steps: list[Step], direction: Direction) -> None:
        consents = [step.consent for step in steps]
        person = Person(
            self._subject(steps[0]).klaviyo_id,
            self.subjects[Channel.EMAIL].address,
            self.subjects[Channel.SMS].address,
        )
        klaviyo = self.services.klaviyo(self.tenant)
        if direction == "out":
            klaviyo.unsubscribe(person, consents)
            return
        list_id = self.tenant.settings.master_list_id if Consent.EMAIL in consents else None
        try:
            klaviyo.subscribe(person, consents, list_id=list_id or "")
        except NotFoundError as error:
            if not list_id:
                raise
            raise CannotSucceedError(
                "Klaviyo knows no list with the id in master_list_id, so nobody was subscribed. "
                "Correct the setting, then replay this job."
            ) from error

    def _note(self, step: Step, direction: Direction) -> None:
        """Note the call for its echo, and the decision for the ledger."""
        subject, channel = self._subject(step), step.consent.channel
        if step.consent is not Consent.SMS_TRANSACTIONAL:  # no event tells of that one
            EchoNotes.of(self.services).note(self.tenant.name, subject.klaviyo_id, channel, direction)
        held, changed_at = _held(subject, step.consent)
        stamp = step.stamp.isoformat() if step.stamp else f"undated {changed_at}"
        record = ConsentRecord(
            at=step.stamp or self.services.clock(),
            channel=channel,
            before=_WORDS.get(held, "unset"),
            after="subscribed" if direction == "in" else "unsubscribed",
            source="omneo",
            event_id=f"{step.consent} {direction} {stamp}",
        )
        tenant = self.tenant
        if tenant.ledger_key is None:
            tenant = ensure_ledger_key(self.services.tenants, tenant.name)
        ConsentLedger.of(self.services).record(tenant, self.profile_id, record)

    def _pull(self, step: Step) -> None:
        queue_pull(
            step,
            self.tenant,
            self.services,
            profile_id=self.profile_id,
            klaviyo_id=self._subject(step).klaviyo_id,
            traceparent=self.traceparent,
        )

    def _subject(self, step: Step) -> Subject:
        return self.subjects[step.consent.channel]


def _held(subject: Subject, consent: Consent) -> tuple[str, str]:
    """Return Klaviyo's word for a consent, and when it was given, both "" if it says nothing."""
    kind = "transactional" if consent is Consent.SMS_TRANSACTIONAL else "marketing"
    found: object = subject.subscriptions
    for name in (consent.channel.value, kind):
        found = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        return "", ""
    return str(found.get("consent") or ""), str(found.get("consent_timestamp") or "")
