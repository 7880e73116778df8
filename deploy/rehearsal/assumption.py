"""The form of an assumption: a name, a sentence, the code that rests on it, the damage if it is wrong, and the check
that tries it. The rows themselves are in `assumptions/`. It calls no service.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from deploy.rehearsal.stage import Stage

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+")


class Service(StrEnum):
    """The service that an assumption is about."""

    OMNEO = "Omneo"
    KLAVIYO = "Klaviyo"
    BROWSERS = "Browsers"
    GOOGLE = "Google Cloud"


class Verdict(StrEnum):
    """The verdict of a check."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNTRIED = "could not be tried"


@dataclass(frozen=True)
class Answer:
    """The result of a check.

    `because` is our own sentence and never quotes a service. It is "" if the assumption holds without a remark.
    """

    verdict: Verdict
    because: str = ""


def holds(because: str = "") -> Answer:
    """Return that the assumption holds."""
    return Answer(Verdict.HOLDS, because)


def fails(because: str) -> Answer:
    """Return that the assumption does not hold, and what the service did instead."""
    return Answer(Verdict.FAILS, because)


def untried(because: str) -> Answer:
    """Return that the assumption could not be tried, and why; if a person can add the missing part, also how."""
    return Answer(Verdict.UNTRIED, because)


def judged(is_so: bool, otherwise: str) -> Answer:
    """Return that the assumption holds, or else what the service did instead (`otherwise`)."""
    return holds() if is_so else fails(otherwise)


Check: TypeAlias = "Callable[[Stage], Answer]"


@dataclass(frozen=True)
class Trial:
    """A check that the rehearsal makes. With `writes` it makes or changes something in Klaviyo or Omneo."""

    check: Check
    writes: bool = True


@dataclass(frozen=True)
class CannotBeTried:
    """Why no command can try it, and how a person can: "" where nobody can."""

    because: str
    by_hand: str = ""


class Place:
    """The code that rests on an assumption: a function or a class, or a constant of a module by its name.

    The thing itself is imported, so a place that is gone fails where the row stands.
    """

    def __init__(self, thing: Any, name: str = "") -> None:
        if isinstance(thing, ModuleType):
            getattr(thing, name)  # AttributeError if it is gone
            self.module, self.name = thing.__name__, name
        else:
            self.module, self.name = str(thing.__module__), str(thing.__qualname__)

    @property
    def path(self) -> str:
        """The file, seen from the top of the repository."""
        return f"{self.module.replace('.', '/')}.py"


@dataclass(frozen=True)
class Assumption:
    """One row. `sentence` begins with a small letter and has no full stop, as the cell of a table."""

    name: str
    service: Service
    sentence: str
    place: Place
    if_wrong: str
    tried: Trial | CannotBeTried

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name}: a name is some words with hyphens")
