"""A process that dies, or loses an answer, at a moment that a test chooses: around any of its calls and writes of
documents. Its calls and documents are real; the test watches only the wire and the store's methods.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import requests

from shared.http.connections import Connections
from shared.services import Services
from shared.storage.documents import Documents
from tests.support.through import READS, Through
from tests.support.wire import Direct

T = TypeVar("T")


class KilledError(BaseException):
    """The process is gone. No `except Exception` runs, and nothing can be called or stored any more."""


class Fate:
    """Counts the moments of a life, two for each call and each write: before it takes effect, and after.

    At moment number `at` it strikes: `kills` ends the process for good, else the call or its answer is lost once. -1 is never.
    """

    def __init__(self, at: int, *, kills: bool) -> None:
        self.at = at
        self.kills = kills
        self.moment = -1
        self.struck = False

    def pass_by(self, what: str) -> None:
        """Let a moment pass, or strike."""
        self.moment += 1
        if self.moment == self.at:
            self.struck = True
            if not self.kills:
                raise requests.ConnectionError(f"lost {what}")
        if self.struck and self.kills:
            raise KilledError(what)


class Meanwhile(Fate):
    """A life in which somebody else does something: once, at this moment ("after POST /api/webhooks")."""

    def __init__(self, at: str, happens: Callable[[], object]) -> None:
        super().__init__(-1, kills=False)
        self._at = at
        self._happens = happens

    def pass_by(self, what: str) -> None:
        """Let it happen, if this is the moment."""
        if what == self._at and not self.struck:
            self.struck = True
            self._happens()


class _Wire(Direct):
    def __init__(self, fate: Fate) -> None:
        super().__init__()
        self._fate = fate

    def send(self, request: requests.PreparedRequest, *args: Any, **named: Any) -> requests.Response:
        line = f"{request.method} {request.path_url}"
        self._fate.pass_by(f"before {line}")
        answer = super().send(request, *args, **named)
        try:
            self._fate.pass_by(f"after {line}")
        except BaseException:
            answer.close()
            raise
        return answer


def watched_connections(fate: Fate) -> Connections:
    """Return connections, for this thread, over which the fate may strike."""
    connections = Connections()
    connections.session().mount("http://", _Wire(fate))
    return connections


def watched_everywhere(fate: Fate) -> Connections:
    """Return connections, for every thread, over which the fate may strike."""
    return _Everywhere(fate)


class _Everywhere(Connections):
    def __init__(self, fate: Fate) -> None:
        super().__init__()
        self._fate = fate

    def session(self) -> requests.Session:
        session = super().session()
        if not isinstance(session.adapters["http://"], _Wire):
            session.mount("http://", _Wire(self._fate))
        return session


class WatchedDocuments(Through):
    """A store in which the fate may strike around every write. Only for a fate that kills."""

    def __init__(self, documents: Documents, fate: Fate) -> None:
        super().__init__(documents)
        self._fate = fate

    def passing(self, operation: str, call: Callable[[], T]) -> T:
        if operation in READS:
            return call()
        self._fate.pass_by("before a write")
        result = call()
        self._fate.pass_by("after a write")
        return result


class WatchedQueue:
    """A queue around each call of which the fate may strike."""

    def __init__(self, queue: Any, fate: Fate) -> None:
        self._queue = queue
        self._fate = fate

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            self._fate.pass_by(f"before {name}")
            result = getattr(self._queue, name)(*args, **named)
            self._fate.pass_by(f"after {name}")
            return result

        return call


def mortal_services(services: Services, fate: Fate) -> Services:
    """Return services of a separate process: the fate may strike around its calls, and around its writes if it kills."""
    own = replace(services, _kept={})
    vars(own)["_connections"] = watched_everywhere(fate)
    documents = services.documents
    vars(own)["documents"] = WatchedDocuments(documents, fate) if fate.kills else documents
    return own


def another_instance(services: Services, fate: Fate | None) -> Services:
    """Return services of another instance.

    With a fate they are `mortal_services`, and the fate may strike around calls of the queue too.
    """
    if fate is None:
        return replace(services, _kept={})
    own = mortal_services(services, fate)
    vars(own)["queue"] = WatchedQueue(services.queue, fate)
    return own
