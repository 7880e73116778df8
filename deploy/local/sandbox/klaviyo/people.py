"""Acts of people, mail servers and Klaviyo's users that a test arranges, by account and profile id. The rules are in `acts.py`.

Every method takes `at`, the Unix seconds at which it happens, or takes the clock's. KeyError if there is no such
profile or list; ValueError if the profile has no address on the channel.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from deploy.local.sandbox.klaviyo import acts, merging
from deploy.local.sandbox.klaviyo.accounts import Account, Profile, Wish
from deploy.local.sandbox.klaviyo.acts import ConsentSwitches
from deploy.local.sandbox.klaviyo.directory import Directory
from deploy.local.sandbox.klaviyo.lists import DOUBLE, SINGLE, MarketingList
from deploy.local.sandbox.klaviyo.subscriptions import CHANNELS, Method

_IDENTIFIED_BY = {"email": "email", "sms": "phone_number", "sms_transactional": "phone_number"}
_METHODS = {"sms": ("TEXT", "JOIN"), "sms_transactional": ("TEXT", "JOIN")}


class People(Directory):
    """The acts of a service that has accounts, a lock and switches."""

    consent: ConsentSwitches

    def marketing_list(
        self, account: str, name: str, *, id: str | None = None, opt_in_process: str = SINGLE
    ) -> MarketingList:
        """Make a list."""
        if opt_in_process not in (SINGLE, DOUBLE):
            raise ValueError(f"opt_in_process is {SINGLE} or {DOUBLE}")
        with self._lock:
            known = self._account(account)
            made = MarketingList(id or known.identifiers.short_id(), name, opt_in_process, known.now())
            known.lists[made.id] = made
        return made

    def subscribe(
        self,
        account: str,
        profile: str,
        *,
        channel: str = "email",
        list_id: str | None = None,
        custom_source: str | None = None,
        at: float | None = None,
    ) -> None:
        """Subscribe on a channel: email, sms, sms_transactional or push. With double opt-in the person has to confirm it."""
        with self._lock:
            known, person, at = self._find(account, profile, at)
            identifier = _IDENTIFIED_BY.get(_channel(channel))
            if identifier and not person.attributes.get(identifier):
                raise ValueError(f"the profile has no {identifier}")
            name, detail = _METHODS.get(channel, ("PREFERENCE_PAGE", None))
            wish = Wish(channel, list_id, Method(name, detail, custom_source))
            acts.subscribe(known, person, wish, self.consent, at)

    def confirm(self, account: str, profile: str, *, channel: str = "email", at: float | None = None) -> None:
        """Confirm the subscription that waits for double opt-in on the channel. KeyError if none waits."""
        with self._lock:
            known, person, at = self._find(account, profile, at)
            acts.confirm(known, person, _channel(channel), self.consent, at)

    def unsubscribe(
        self,
        account: str,
        profile: str,
        *,
        channel: str = "email",
        list_id: str | None = None,
        at: float | None = None,
    ) -> None:
        """Unsubscribe from a list, or from everything on the channel without one or when not on it."""
        with self._lock:
            known, person, at = self._find(account, profile, at)
            if list_id is not None and list_id not in known.lists:
                raise KeyError("list_id")
            acts.unsubscribe(known, person, _channel(channel), self.consent, at, list_id=list_id)

    def bounce(self, account: str, profile: str, *, hard: bool, at: float | None = None) -> None:
        """Bounce an email, hard or softly."""
        with self._lock:
            known, person, at = self._find(account, profile, at)
            acts.bounce(known, person, self.consent, at, is_hard=hard)

    def drop_email(self, account: str, profile: str, *, at: float | None = None) -> None:
        """Drop an email before it is sent; only an event."""
        self._happen(account, profile, ["dropped_email"], at)

    def mark_as_spam(self, account: str, profile: str, *, at: float | None = None) -> None:
        """Complain of an email."""
        with self._lock:
            known, person, at = self._find(account, profile, at)
            acts.mark_as_spam(known, person, at)

    def suppress(self, account: str, profile: str, *, at: float | None = None) -> None:
        """Suppress a profile by hand."""
        with self._lock:
            known, person, at = self._find(account, profile, at)
            acts.suppress(known, person, at)

    def unsuppress(self, account: str, profile: str, *, at: float | None = None) -> None:
        """Take back a suppression by hand; every other reason stays."""
        with self._lock:
            known, person, at = self._find(account, profile, at)
            acts.unsuppress(known, person, at)

    def update_email_preferences(
        self,
        account: str,
        profile: str,
        *,
        properties: Mapping[str, Any] | None = None,
        at: float | None = None,
    ) -> None:
        """Fill in the preference page: custom `properties` are written, consent stays."""
        with self._lock:
            known, person, at = self._find(account, profile, at)
            person.properties.update(properties or {})
            acts.record(known, ["updated_email_preferences"], person, {}, at)

    def fail_sms(self, account: str, profile: str, *, at: float | None = None) -> None:
        """Fail to deliver a text message; only events."""
        self._happen(account, profile, ["failed_to_deliver_sms", "failed_to_deliver_text_message"], at)

    def merge_profiles(self, account: str, source: str, destination: str, *, at: float | None = None) -> None:
        """Merge a profile into another. ValueError if both are one."""
        with self._lock:
            known, merged, at = self._find(account, source, at)
            _, kept, _ = self._find(account, destination, at)
            if merged is kept:
                raise ValueError("source and destination are one profile")
            merging.merge(known, merged, kept, self.consent, at)

    def delete_profile(self, account: str, profile: str) -> None:
        """Remove a profile and its events, as a privacy request does."""
        with self._lock:
            known, person, _ = self._find(account, profile, None)
            known.forget(person)

    def _happen(self, account: str, profile: str, slugs: Iterable[str], at: float | None) -> None:
        with self._lock:
            known, person, at = self._find(account, profile, at)
            acts.record(known, slugs, person, {}, at)

    def _find(self, account: str, profile: str, at: float | None) -> tuple[Account, Profile, float]:
        known = self._account(account)
        known.schedule.run_due()
        found = known.profile(profile)
        if found is None:
            raise KeyError("profile")
        return known, found, known.now() if at is None else at


def _channel(channel: str) -> str:
    if channel not in CHANNELS:
        raise ValueError(f"channel is one of {', '.join(CHANNELS)}")
    return channel
