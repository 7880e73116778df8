"""Which call goes wrong, and which has: the faults of a plan, taken one by one. How each looks is the wire's, the store's and the queue's."""

from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase

from tests.world.plans import Fault


class DiedError(BaseException):
    """The process is gone. Product code does not catch this error, and can call or store nothing after it."""


class Faults:
    """The faults that are still to come. Times are seconds since the history began."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._waiting = sorted(faults, key=lambda fault: fault.at)
        self._lasting: list[Fault] = []
        self.fired: Counter[str] = Counter()
        self.last_at = 0.0

    def take(self, where: str, seconds: float, about: str) -> str:
        """Return how this call goes wrong, "" if it goes well. `about` says which call it is."""
        for fault in self._waiting:
            if fault.at > seconds:
                break
            if fault.where == where and fault.kind != "lags" and fnmatchcase(about, fault.about):
                self._waiting.remove(fault)
                if fault.lasts:
                    self._lasting.append(fault)
                return self._fired(fault, seconds, about)
        for fault in self._lasting:
            if fault.where == where and seconds <= fault.at + fault.lasts and fnmatchcase(about, fault.about):
                return self._fired(fault, seconds, about)
        return ""

    def lags(self, seconds: float) -> bool:
        """Return whether Omneo's reads lag now."""
        return any(
            fault.kind == "lags" and fault.at <= seconds <= fault.at + fault.lasts for fault in self._waiting
        )

    def _fired(self, fault: Fault, seconds: float, about: str) -> str:
        self.fired[f"{fault.where}: {fault.kind}"] += 1
        if fault.kind.startswith("dies"):
            self.fired[f"{fault.kind} {about}"] += 1
        self.last_at = seconds
        return fault.kind
