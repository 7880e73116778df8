"""Two sources report the same thing, for example a log line and a sandbox the same call, and either may come first. The
first report waits here for the other. Pure: the caller decides which reports fit.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from itertools import count
from typing import Generic, TypeVar

One = TypeVar("One")
Other = TypeVar("Other")


class Counterparts(Generic[One, Other]):
    """The waiting reports of both sides: the newest, at most `most` of each. `fits` returns the distance of two
    reports, None if they are about different things. Each is taken once; if several fit, the nearest is taken.
    """

    def __init__(self, fits: Callable[[One, Other], float | None], *, most: int) -> None:
        self._fits = fits
        self._most = most
        self._numbers = count()
        self._ones: OrderedDict[int, One] = OrderedDict()
        self._others: OrderedDict[Hashable, Other] = OrderedDict()

    def other_of(self, one: One) -> Other | None:
        """Return the counterpart of `one`, and stop keeping it. If there is none, keep `one` and return None."""
        apart = {key: self._fits(one, other) for key, other in self._others.items()}
        key = _nearest(apart)
        if key is not None:
            return self._others.pop(key)
        self._ones[next(self._numbers)] = one
        if len(self._ones) > self._most:
            self._ones.popitem(last=False)
        return None

    def one_of(self, other: Other, key: Hashable = None) -> One | None:
        """Return the counterpart of `other`, as `other_of` does. Another with the same `key` that waits is forgotten for this one."""
        number = _nearest({number: self._fits(one, other) for number, one in self._ones.items()})
        if number is not None:
            self._others.pop(key, None)
            return self._ones.pop(number)
        self._others[("no key", next(self._numbers)) if key is None else key] = other
        if len(self._others) > self._most:
            self._others.popitem(last=False)
        return None


Key = TypeVar("Key")


def _nearest(apart: dict[Key, float | None]) -> Key | None:
    fitting = {key: far for key, far in apart.items() if far is not None}
    return min(fitting, key=lambda key: fitting[key], default=None)
