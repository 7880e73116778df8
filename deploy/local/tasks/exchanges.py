"""The requests and answers of the newest attempts, only in memory: on disk, personal data would outlive its task."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace

from deploy.local.tasks.model import Answer, HttpRequest

KEPT = 1_000  # attempts
SHOWN = 65_536  # bytes of a body

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Exchange:
    """An attempt as it was sent; of a body the first `SHOWN` bytes. `answer` is None until there is one."""

    request: HttpRequest = field(repr=False)
    headers: Headers = field(repr=False)
    answer: Answer | None = None

    def to_json(self) -> dict[str, object]:
        """Return it as the record tells it: `sent` and `received`, each with headers and body, `received` None without an answer."""
        answer = self.answer
        received = None if answer is None or answer.status is None else _part(answer.headers, answer.body)
        sent = {"method": self.request.method, "url": self.request.url}
        return {"sent": sent | _part(self.headers, self.request.body), "received": received}


class Exchanges:
    """The newest exchanges by the attempt's id. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_attempt: OrderedDict[int, Exchange] = OrderedDict()

    def sent(self, attempt: int, request: HttpRequest, headers: Headers) -> None:
        """Keep the request of an attempt, and forget the oldest."""
        with self._lock:
            self._by_attempt[attempt] = Exchange(request, headers)
            while len(self._by_attempt) > KEPT:
                self._by_attempt.popitem(last=False)

    def answered(self, attempt: int, answer: Answer) -> None:
        """Keep the answer to an attempt."""
        with self._lock:
            if attempt in self._by_attempt:
                self._by_attempt[attempt] = replace(self._by_attempt[attempt], answer=answer)

    def of(self, attempt: int) -> Exchange | None:
        """Return an exchange, None where it is forgotten or of an earlier start."""
        with self._lock:
            return self._by_attempt.get(attempt)


def _part(headers: Headers, body: bytes) -> dict[str, object]:
    return {"headers": [list(pair) for pair in headers], "body": body[:SHOWN].decode("utf-8", "replace")}
