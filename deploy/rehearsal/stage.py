"""The tools of a check: the two clients, things that it makes and marks, waiting with a bound, and a place for its evidence."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from deploy.rehearsal import made
from deploy.rehearsal.exchanges import Exchange, ListeningServices
from deploy.rehearsal.journal import Journal, Made, Turn
from shared.klaviyo.profiles import KlaviyoProfile
from shared.tenants.tenants import Tenant

T = TypeVar("T")

_PAUSES = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0)  # between two looks, in seconds; the last one goes on
# What evidence may be in words: names that are the service's or ours, such as a status, a method or a header.
_WORDS = re.compile(r"[A-Za-z$_][A-Za-z0-9$_ .:/-]{0,60}")
SEEN_WITHIN = 180.0  # Klaviyo accepts a job and processes it later; its pages speak of minutes


@dataclass(frozen=True)
class Person:
    """A Klaviyo profile that the rehearsal has made."""

    id: str
    email: str = field(repr=False)
    external_id: str


@dataclass(frozen=True)
class Waited:
    """How long something took to be seen, in seconds, about: looks are seconds apart."""

    seconds: float


class Stage:
    """One run of the rehearsal on one tenant.

    `profile_id` is the Omneo profile that it may use, `run` marks the things that it makes.
    """

    def __init__(
        self,
        tenant: Tenant,
        services: ListeningServices,
        *,
        journal: Journal,
        turn: Turn,
        profile_id: str,
        domain: str,
        calls: list[Exchange],
    ) -> None:
        self.tenant = tenant
        self.services = services
        self.klaviyo = services.klaviyo(tenant)
        self.omneo = services.omneo(tenant)
        self.profile_id = profile_id
        self.run = services.new_id()[:12]
        self.calls = calls  # of the present check, the oldest first
        self.evidence: dict[str, Any] = {}
        self.journal = journal
        self._turn = turn
        self._domain = domain
        self._made_once: dict[str, Any] = {}
        self._numbers: dict[str, int] = {}

    def begin(self) -> None:
        """Begin a check: its calls and its evidence are its own."""
        self._turn.keep()
        self.calls.clear()
        self.evidence.clear()

    # Time.

    def now(self) -> datetime:
        """Return the time by the clock of the services, in UTC."""
        return self.services.clock()

    def pause(self, seconds: float) -> None:
        """Wait, with a sign of life."""
        self.services.sleep(seconds)
        self._turn.keep()

    def until(self, look: Callable[[], T | None], *, within: float = SEEN_WITHIN) -> tuple[T, Waited] | None:
        """Look again and again until something is seen; None if nothing was within so many seconds."""
        began = self.now()
        pauses = iter(_PAUSES)
        pause = 0.0
        while True:
            pause = next(pauses, pause)
            if pause:
                self.pause(pause)
            seen = look()
            waited = (self.now() - began).total_seconds()
            if seen is not None:
                return seen, Waited(waited)
            if waited >= within:
                return None

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return the result of `make` for this name in this run; `make` is called once."""
        if name not in self._made_once:
            self._made_once[name] = make()
        made_once: T = self._made_once[name]
        return made_once

    # Evidence.

    def saw(self, what: str, value: bool | float | str) -> None:
        """Keep evidence: a number, yes or no, or a word that is a name of the service's or of ours.

        Raises:
            ValueError: it could be somebody's value.
        """
        if isinstance(value, str) and not _WORDS.fullmatch(value):
            raise ValueError(f"{what}: this could be somebody's value")
        self.evidence[what] = round(value, 1) if isinstance(value, float) else value

    def saw_names(self, what: str, names: list[str]) -> None:
        """Keep names of fields as evidence; one that does not look like a name is only counted."""
        plain = sorted({name for name in names if _WORDS.fullmatch(name)})
        self.evidence[what] = [*plain, *(["..."] if len(plain) < len(set(names)) else [])]

    # The things that it makes. Each name is noted before the call that makes it.

    def name(self, what: str) -> str:
        """Return a name of this run that nothing else has."""
        number = self._numbers[what] = self._numbers.get(what, 0) + 1
        return f"{made.MARK}-{self.run}-{what}" + (f"-{number}" if number > 1 else "")

    def note(self, kind: str, name: str, owner: str = "") -> str:
        """Note a thing before it is made, so that it is removed in any case, and return its name."""
        self._turn.keep()
        self.journal.note(Made(kind, name, owner))
        return name

    def email(self, who: str) -> str:
        """Return an address of this run's own, which the next profile with it is removed by."""
        return self.note(made.PERSON, f"{self.name(who)}@{self._domain}")

    def person(self, who: str) -> Person:
        """Return the Klaviyo profile of this run that is called so, made when it is first asked for."""
        return self.once(f"person {who}", lambda: self._made_person(who))

    def _made_person(self, who: str) -> Person:
        email, external_id = self.email(who), self.name(f"id-{who}")
        attributes = {"email": email, "external_id": external_id, "first_name": "Rehearsal"}
        profile = self.known(self.klaviyo.create_profile({"type": "profile", "attributes": attributes}))
        return Person(profile.id, email, external_id)

    def known(self, profile: KlaviyoProfile) -> KlaviyoProfile:
        """Note the id of a profile that was made: a search by email may not find a new profile yet."""
        self.note(made.KNOWN_PERSON, profile.id)
        return profile

    def data_source(self) -> str:
        """Make a data source, which is noted before so that it is removed, and return its id."""
        title = self.note(made.DATA_SOURCE, self.name("records"))
        return self.klaviyo.create_data_source(title, "Made by a rehearsal, and removed by it.")

    def omneo_profile(self, who: str) -> str:
        """Make an Omneo profile that is never synced, and return its id."""
        email = self.note(made.OMNEO_PROFILE, f"{self.name(who)}@example.com")
        id = self.omneo.create_profile({"first_name": "Rehearsal", "last_name": "Test", "email": email})
        return self.note(made.KNOWN_OMNEO_PROFILE, id)
