"""Klaviyo's side of many Omneo profiles: a hundred in one call, and never faster than live traffic can bear."""

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.errors import RefusedError
from shared.klaviyo.bulk import READ_AT_ONCE, Identifier
from shared.resync.rules.persons import is_anothers
from shared.resync.rules.run import in_parts

if TYPE_CHECKING:
    from shared.klaviyo.client import KlaviyoClient
    from shared.klaviyo.profiles import KlaviyoProfile

# Valid identifiers that nobody has. If Klaviyo refuses a look-up of these too, it refuses every look-up, and not a
# value.
_NOBODYS: dict[Identifier, str] = {
    "id": "nobody",
    "external_id": "nobody",
    "email": "nobody@example.com",
    "phone_number": "+14155550100",
}
# Of the 750 calls a minute that Klaviyo allows: the rest is for live traffic.
CALLS_PER_MINUTE = 675


class KnownProfiles:
    """Profiles that Klaviyo has shown, by their identifiers."""

    def __init__(self, profiles: "Iterable[KlaviyoProfile]" = ()) -> None:
        self._by: dict[str, dict[str, KlaviyoProfile]] = {
            "id": {},
            "email": {},
            "phone_number": {},
            "external_id": {},
        }
        self.add(profiles)

    def add(self, profiles: "Iterable[KlaviyoProfile]") -> None:
        """Learn of more."""
        for profile in profiles:
            for name, known in self._by.items():
                if value := getattr(profile, name):
                    known[value.casefold()] = profile

    def of(self, name: Identifier, value: str) -> "KlaviyoProfile | None":
        """Return the profile that has this identifier, None if none is known to."""
        return self._by[name].get(value.casefold()) if value else None


@dataclass(frozen=True)
class Wanted:
    """The profiles that Klaviyo is asked about: the id that Omneo holds, the Omneo id, and the addresses that a consent could be about."""

    klaviyo_id: str
    omneo_id: str
    email: str = ""
    phone_number: str = ""

    def find(self, known: KnownProfiles) -> "KlaviyoProfile | None":
        """Return the profile, found as a live sync finds it: by the stored id, without one by external_id, without both by email.

        One that names another Omneo profile is not the person's.
        """
        found = (
            known.of("id", self.klaviyo_id),
            known.of("external_id", self.omneo_id),
            known.of("email", self.email),
        )
        return next((one for one in found if one is not None and not is_anothers(one, self.omneo_id)), None)


@dataclass
class KlaviyoLookup:
    """Looks many profiles up in Klaviyo."""

    klaviyo: "KlaviyoClient"
    threads: Executor
    clock: Callable[[], datetime]
    sleep: Callable[[float], None]
    _free_at: datetime | None = None

    def of(self, wanted: Collection[Wanted]) -> KnownProfiles:
        """Return Klaviyo's profiles of these people: one call for a hundred people whose addresses are the same on both
        sides.

        It includes other profiles that have one of their addresses: a consent to the address would be theirs.
        """
        known = KnownProfiles()
        self._ask(known, "id", (one.klaviyo_id for one in wanted))
        self._ask(known, "external_id", (one.omneo_id for one in wanted if one.find(known) is None))
        for name in ("email", "phone_number"):
            self._ask(known, name, [getattr(one, name) for one in wanted if _is_new(name, one, known)])
        return known

    def ids(self, ids: Iterable[str]) -> KnownProfiles:
        """Return which of these ids Klaviyo knows."""
        known = KnownProfiles()
        self._ask(known, "id", ids)
        return known

    def owners(self, emails: Iterable[str], phone_numbers: Iterable[str]) -> KnownProfiles:
        """Return the owners of these addresses: two calls for a hundred people."""
        known = KnownProfiles()
        self._ask(known, "email", emails)
        self._ask(known, "phone_number", phone_numbers)
        return known

    def _ask(self, known: KnownProfiles, name: Identifier, values: Iterable[str]) -> None:
        parts = in_parts(sorted({value for value in values if value}), READ_AT_ONCE)

        def read(part: list[str]) -> "list[KlaviyoProfile] | None":
            try:
                return self.klaviyo.profiles_by(name, part)
            except RefusedError as error:
                if error.status != 400:
                    raise
                return None

        is_answered = not parts
        while parts:
            self._keep_pace(len(parts))
            answers = list(zip(parts, self.threads.map(read, parts), strict=True))
            for _, found in answers:
                known.add(found or ())
                is_answered = is_answered or found is not None
            # Nobody has a value that Klaviyo refuses as an address: a search by halves finds that value.
            refused = [part for part, found in answers if found is None and len(part) > 1]
            parts = [half for part in refused for half in in_parts(part, -(-len(part) // 2))]
        if (
            not is_answered
        ):  # then no profile may count as missing: an import would overwrite the profile that has the address
            self._keep_pace(1)
            self.klaviyo.profiles_by(name, [_NOBODYS[name]])

    def _keep_pace(self, calls: int) -> None:
        now = self.clock()
        free_at = max(self._free_at or now, now)
        if free_at > now:
            self.sleep((free_at - now).total_seconds())
        self._free_at = free_at + timedelta(minutes=calls / CALLS_PER_MINUTE)


def _is_new(name: Identifier, wanted: Wanted, known: KnownProfiles) -> bool:
    """Return whether the profile, as Klaviyo has it, does not show this address."""
    address, profile = getattr(wanted, name), wanted.find(known)
    return profile is None or getattr(profile, name).casefold() != address.casefold()
