"""Filters that choose dead jobs; all of them have to hold. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Protocol, Self

# The fields that the store compares; the others are compared row by row.
_OF_THE_STORE = ("kind", "cause", "metric")


class Row(Protocol):
    """The fields of a dead job that filters compare."""

    @property
    def kind(self) -> str: ...
    @property
    def cause(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def profiles(self) -> tuple[str, ...]: ...
    @property
    def died_at(self) -> datetime: ...


@dataclass(frozen=True)
class Wanted:
    """Filters; an empty filter matches everything. `profile` is a hash (persons.py), `reason` is a part of the reason, in any case.

    `since` and `until` are about the last time that a job died. `leaves_out` is a kind that is left out.
    """

    kind: str = ""
    cause: str = ""
    metric: str = ""
    reason: str = ""
    profile: str = ""
    since: datetime | None = None
    until: datetime | None = None
    leaves_out: str = ""

    @property
    def is_everything(self) -> bool:
        """Whether no filter is set."""
        return self == Wanted()

    @property
    def asked_of_the_store(self) -> dict[str, str]:
        """The filters by equality, as fields of the row."""
        return {name: value for name in _OF_THE_STORE if (value := getattr(self, name))}

    @property
    def is_all_the_store_s(self) -> bool:
        """Whether the store alone can find the matching rows."""
        return not (self.reason or self.profile or self.since or self.until or self.leaves_out)

    def means(self, dead: Row) -> bool:
        """Return whether a dead job matches."""
        return (
            all(getattr(dead, name) == value for name, value in self.asked_of_the_store.items())
            and self.reason.casefold() in dead.reason.casefold()
            and (not self.profile or self.profile in dead.profiles)
            and (self.since is None or dead.died_at >= self.since)
            and (self.until is None or dead.died_at < self.until)
            and dead.kind != self.leaves_out
        )

    def to_fields(self) -> dict[str, Any]:
        """Return the filters that are set, as fields of a document."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name))}

    @classmethod
    def of_fields(cls, stored: Mapping[str, Any]) -> Self:
        """Return the filters that `to_fields` gave."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in known})
