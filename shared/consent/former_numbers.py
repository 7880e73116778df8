"""Phone numbers that have left a Klaviyo profile, and SMS opt-outs that may be decisions of a number's next owner.

While Klaviyo has a number on the profile of a former owner, it reports the next owner's messages on that profile. Omneo
has no search by number. So the opt-out is noted under the number, and the sync of the number's next owner finds it
here. Profiles that have the number already are noted too, and get the opt-out; so are profiles that have the number in
Omneo while Klaviyo has it on another profile, because several profiles may share one. A number appears only as a hash
under the tenant's own key.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from shared.errors import DocumentExistsError, DocumentMissingError
from shared.storage.documents import Document, Documents, Value, delete_all, each_document
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.services import Services

# Longer than Klaviyo repeats a delivery, or a heal reads back.
KEPT = timedelta(days=90)


@dataclass(frozen=True)
class GivenUp:
    """A Klaviyo profile that has given a number up.

    From `since` to `until`, another Omneo profile may have had the number already.
    """

    number: str
    klaviyo_id: str
    since: datetime
    until: datetime

    def may_be_of_next(self, at: datetime, address: str = "") -> bool:
        """Return whether a decision through the Klaviyo profile at that time may be the next owner's.

        It is not if Omneo still had the number on the former owner after that. `address` is the mark of the number that
        Omneo showed, "" if that is not known.
        """
        return self.since <= at <= self.until and address != self.number


@dataclass(frozen=True)
class OptOut:
    """An SMS opt-out, the Klaviyo profile on which it was reported, and the Omneo profile that got it, "" if there was none."""

    at: datetime
    klaviyo_id: str
    profile_id: str


@dataclass(frozen=True)
class Sharer:
    """An Omneo profile that may have had an address while Klaviyo had it with somebody else; `until` is None while it has."""

    profile_id: str
    since: datetime
    until: datetime | None = None

    def may_have_decided(self, at: datetime) -> bool:
        """Return whether what was decided at the address then may be this profile's decision."""
        return self.since <= at and (self.until is None or at <= self.until)


@dataclass(frozen=True)
class NumberHistory:
    """The history of a number. `owners` are the Omneo profiles that have got it from another."""

    given_up: tuple[GivenUp, ...] = ()
    opt_outs: tuple[OptOut, ...] = ()
    owners: tuple[str, ...] = ()
    sharers: tuple[Sharer, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.given_up or self.opt_outs)

    def former(self, klaviyo_id: str) -> list[GivenUp]:
        """Return the notes of the profile that gave the number up last, except the Klaviyo profile that has it now.

        An earlier giver certainly had a next owner.
        """
        others = [one for one in self.given_up if one.klaviyo_id != klaviyo_id]
        last = max(others, key=lambda one: one.until, default=None)
        return [one for one in others if last is not None and one.klaviyo_id == last.klaviyo_id]

    def opt_outs_for(self, profile_id: str, klaviyo_id: str) -> list[datetime]:
        """Return the times of opt-outs that the present owner of the number, this Omneo profile, may have made."""
        givers = {one.klaviyo_id for one in self.given_up}
        followed = givers - {one.klaviyo_id for one in self.former(klaviyo_id)}
        return [
            one.at
            for one in self.opt_outs
            if one.profile_id.casefold() != profile_id.casefold() and one.klaviyo_id not in followed
        ]


class FormerNumbers:
    """Keeps the histories of numbers that have changed their owner. A number is given as its mark."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.clock)

    def note_given_up(self, tenant: str, given_up: GivenUp) -> None:
        """Remember that a Klaviyo profile gives a number up; repeated calls make one note."""
        fields: dict[str, Value] = {
            "number": given_up.number,
            "given_up_by": given_up.klaviyo_id,
            "since": given_up.since,
            "until": given_up.until,
        }
        self._keep(
            tenant, f"given up {given_up.number} {given_up.klaviyo_id} {given_up.since.isoformat()}", fields
        )

    def note_opt_out(self, tenant: str, number: str, opt_out: OptOut) -> None:
        """Remember an opt-out that the number's next owner may have made."""
        fields: dict[str, Value] = {
            "number": number,
            "told_of": opt_out.klaviyo_id,
            "profile": opt_out.profile_id,
            "at": opt_out.at,
        }
        self._keep(tenant, f"out {number} {opt_out.klaviyo_id} {opt_out.at.isoformat()}", fields)

    def note_owner(self, tenant: str, number: str, profile_id: str) -> None:
        """Remember that the Omneo profile has got the number: it gets each later opt-out under the number."""
        self._keep(tenant, f"owner {number} {profile_id}", {"number": number, "owner": profile_id})

    def note_shared(self, tenant: str, number: str, sharer: Sharer) -> bool:
        """Remember that the Omneo profile has from now on this number of those that Klaviyo has with somebody else, "" for none.

        Return whether it had another before, or none.
        """
        id, is_noted = sharer.profile_id, False
        for row in [*self._matching(tenant, {"shared_by": id})]:
            if row.fields["until"] is not None:
                continue
            is_noted = is_noted or row.fields["number"] == number
            until = None if row.fields["number"] == number else self._clock()
            left: dict[str, Value] = {"until": until, "expire_at": self._clock() + KEPT}
            with suppress(DocumentMissingError):  # forgotten in this very moment
                self._documents.update(_collection(tenant), row.id, left)
        if number and not is_noted:
            fields: dict[str, Value] = {
                "number": number,
                "shared_by": id,
                "since": sharer.since,
                "until": None,
            }
            self._keep(tenant, f"shared {number} {id} {sharer.since.isoformat()}", fields)
        return bool(number) and not is_noted

    def given_up_by(self, tenant: str, klaviyo_id: str) -> list[GivenUp]:
        """Return the numbers that the Klaviyo profile has given up."""
        return [_given_up(row) for row in self._matching(tenant, {"given_up_by": klaviyo_id})]

    def history(self, tenant: str, number: str) -> NumberHistory:
        """Return the history of a number."""
        rows = [*self._matching(tenant, {"number": number})]
        return NumberHistory(
            tuple(_given_up(row) for row in rows if "given_up_by" in row.fields),
            tuple(_opt_out(row) for row in rows if "told_of" in row.fields),
            tuple(str(row.fields["owner"]) for row in rows if "owner" in row.fields),
            tuple(_sharer(row) for row in rows if "shared_by" in row.fields),
        )

    def forget_profile(self, tenant: str, profile_id: str) -> int:
        """Forget what an Omneo profile had to do with numbers, and return how much that was; an opt-out stays: see `_leave_out`."""
        owned = sum(self._forget_where(tenant, {name: profile_id}) for name in ("owner", "shared_by"))
        return owned + self._leave_out(tenant, {"profile": profile_id})

    def forget_klaviyo_profile(self, tenant: str, klaviyo_id: str) -> int:
        """Forget which numbers a Klaviyo profile had, and return how much that was; an opt-out stays: see `_leave_out`."""
        given_up = self._forget_where(tenant, {"given_up_by": klaviyo_id})
        return given_up + self._leave_out(tenant, {"told_of": klaviyo_id})

    def forget(self, tenant: str) -> None:
        """Forget all of it."""
        delete_all(self._documents, _collection(tenant))

    def _keep(self, tenant: str, what: str, fields: dict[str, Value]) -> None:
        id = _id(what)
        fields = {**fields, "expire_at": self._clock() + KEPT}
        try:
            self._documents.create(_collection(tenant), id, fields)
        except DocumentExistsError:
            self._documents.update(_collection(tenant), id, fields)

    def _matching(self, tenant: str, where: Mapping[str, str]) -> Iterator[Document]:
        return each_document(self._documents, _collection(tenant), where=where)

    def _leave_out(self, tenant: str, where: Mapping[str, str]) -> int:
        """Forget of opt-outs of whom they were told, and return of how many. They may be those of a number's next owner, who has still to be
        synced: so they stay with the number, as long as they would have.
        """
        found = [*self._matching(tenant, where)]
        for row in found:
            number, at = str(row.fields["number"]), _moment(row.fields["at"])
            id = _id(f"out {number} {at.isoformat()}")
            with suppress(DocumentExistsError):
                self._documents.create(_collection(tenant), id, {**row.fields, "told_of": "", "profile": ""})
            self._documents.delete(_collection(tenant), row.id)
        return len(found)

    def _forget_where(self, tenant: str, where: Mapping[str, str]) -> int:
        found = [*self._matching(tenant, where)]
        for document in found:
            self._documents.delete(_collection(tenant), document.id)
        return len(found)


def mark_of_number(tenant: Tenant, number: str) -> str:
    """Return the mark of a phone number in E.164.

    Raises:
        ValueError: the tenant has no ledger key.
    """
    if tenant.ledger_key is None:
        raise ValueError("the tenant has no ledger key")
    key = tenant.ledger_key.get_secret_value().encode()
    return hmac.new(key, f"number\0{number}".encode(), hashlib.sha256).hexdigest()[:32]


def _given_up(row: Document) -> GivenUp:
    fields = row.fields
    return GivenUp(
        str(fields["number"]), str(fields["given_up_by"]), _moment(fields["since"]), _moment(fields["until"])
    )


def _opt_out(row: Document) -> OptOut:
    fields = row.fields
    return OptOut(_moment(fields["at"]), str(fields["told_of"]), str(fields["profile"]))


def _sharer(row: Document) -> Sharer:
    fields = row.fields
    until = None if fields["until"] is None else _moment(fields["until"])
    return Sharer(str(fields["shared_by"]), _moment(fields["since"]), until)


def _moment(value: Value) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError("a note about a phone number has no time")
    return value


def _id(what: str) -> str:
    return hashlib.sha256(what.encode()).hexdigest()[:32]


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/former_numbers"
