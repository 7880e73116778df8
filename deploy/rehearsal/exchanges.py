"""Every call of a rehearsal and its answer, in one place. Listeners get both whole; this module makes the part that may
be shown.

It shows methods, paths without ids, statuses, codes, names of headers and of fields, and kinds of values; never a value.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from deploy.rehearsal.clients import RehearsedKlaviyo, RehearsedOmneo
from deploy.rehearsal.shapes import Shape, shape_of
from shared.http.answers import Answer
from shared.http.client import HttpClient, Sent, ShortWaits
from shared.http.paths import path_template
from shared.klaviyo.json_api import read_problem as read_klaviyos
from shared.omneo.verdicts import read_problem as read_omneos
from shared.services import Services

if TYPE_CHECKING:
    from shared.http.answers import Problem
    from shared.tenants.tenants import Tenant

_PATIENCE = (6, 60.0)  # throttled calls wait in place: so many times, for at most so many seconds each
_CODE = re.compile(r"[a-z][a-z_]{1,60}")
_FIELD = re.compile(r"[a-z][a-zA-Z0-9_-]{0,60}")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}")


@dataclass(frozen=True)
class Exchange:
    """One call and its answer, None if none came. `path` holds ids, the headers a token: for scrubbing, not for showing."""

    service: str
    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    data: bytes | None
    answer: Answer | None

    @property
    def template(self) -> str:
        """The path with `{id}` in place of ids."""
        return path_template(self.path)

    @property
    def status(self) -> int:
        """The status of the answer, 0 if none came."""
        return self.answer.status if self.answer else 0

    @property
    def revision(self) -> str:
        """The revision of Klaviyo's API that was asked for, "" at Omneo."""
        return self.headers.get("revision", "")

    @property
    def header_names(self) -> tuple[str, ...]:
        """The names of the answer's headers, in order."""
        names = self.answer.headers if self.answer else {}
        return tuple(sorted(name for name in names if _HEADER.fullmatch(name)))

    @property
    def problem(self) -> tuple[str, str]:
        """The code of a refusal and the place that it names; "" if the refusal names none, or names something that could be a value."""
        if not 400 <= self.status < 600:
            return "", ""
        reader: Callable[[Any], Problem] = read_klaviyos if self.service == "Klaviyo" else read_omneos
        try:
            problem = reader(self.body)
        except (TypeError, KeyError, IndexError, AttributeError):
            return "", ""
        code = problem.code if _CODE.fullmatch(problem.code) else ""
        return code, problem.field if self._is_of_ours(problem.field) else ""

    @property
    def body(self) -> Any:
        """The answer's JSON, None if it has none."""
        return _json(self.answer.body if self.answer else b"")

    @property
    def sent(self) -> Any:
        """The call's JSON, None if it has none."""
        return _json(self.data or b"")

    def _is_of_ours(self, place: str) -> bool:
        """Return whether a place is made of names that we have sent, and numbers."""
        words = {*_names_in(self.sent), *self.params, "data", "attributes", "relationships", ""}
        return all(word.isdecimal() or word in words for word in place.split("/"))

    def shown(self) -> dict[str, Any]:
        """Return the part of it that may be shown."""
        code, place = self.problem
        said = {"code": code, "at": place, "revision": self.revision}
        return {
            "service": self.service,
            "call": f"{self.method} {self.template}",
            "status": self.status,
            **{name: text for name, text in said.items() if text},
            "headers": list(self.header_names),
            "sent": shape(self.sent),
            "answered": shape(self.body),
        }

    def __str__(self) -> str:
        code, place = self.problem
        said = f" {code}" if code else ""
        return f"{self.service} {self.method} {self.template}: {self.status or 'no answer'}{said}" + (
            f" at {place}" if place else ""
        )


Listener: TypeAlias = Callable[[Exchange], None]


def shape(value: Any) -> Any:
    """Return the kinds of the values in a JSON document, by field; never a value or a name that people have given.

    >>> shape({"data": [{"id": "01H", "attributes": {"properties": {"Shoe size": 9}, "first_name": None}}]})
    {'data': [{'id': 'string', 'attributes': {'properties': 'object', 'first_name': 'null'}}]}
    """
    return _shown(shape_of(value))


def _shown(form: Shape) -> Any:
    if "object" in form.kinds:
        return {
            # `meta` may be a person's own words; where it is the service's, it says nothing that matters here.
            name: "object" if name == "meta" and "object" in inner.kinds else _shown(inner)
            for name, inner in form.fields.items()
            if _FIELD.fullmatch(name)
        }
    if "array" in form.kinds:
        return [_shown(form.item)] if form.item is not None else []
    return " or ".join(sorted(form.kinds)).replace("free", "object")


class ListeningClient(HttpClient):
    """An `HttpClient` that passes every exchange to the listeners; `hear` names them before the first call."""

    hear: Listener

    def _exchange(self, sent: Sent) -> Answer:
        answer: Answer | None = None
        try:
            answer = super()._exchange(sent)
            return answer
        finally:
            params = sent.params or {}
            self.hear(Exchange(self.service, sent.method, sent.path, params, sent.headers, sent.data, answer))


@dataclass(frozen=True)
class ListeningServices(Services):
    """Services that pass each call to Klaviyo and Omneo to every listener, and wait where they are throttled."""

    listeners: tuple[Listener, ...] = ()

    @classmethod
    def around(cls, services: Services, *listeners: Listener, revision: str = "") -> "ListeningServices":
        """Return services like these on the same store; with a `revision`, Klaviyo is asked for that one."""
        settings = services.settings
        if revision:
            settings = replace(settings, klaviyo_revision=revision)
        own = cls(
            settings,
            services.clock,
            services.random,
            services.sleep,
            services.new_id,
            services.new_word,
            short_waits=_PATIENCE[0],  # somebody waits: no pace is kept
            listeners=listeners,
        )
        # Parts that exist already are shared: a store has one connection, and a test its own wire.
        own.__dict__.update({name: services.__dict__[name] for name in _SHARED if name in services.__dict__})
        return own

    def klaviyo(self, tenant: "Tenant") -> RehearsedKlaviyo:
        """Return a client of the tenant's Klaviyo account."""
        return RehearsedKlaviyo.like(super().klaviyo(tenant))

    def omneo(self, tenant: "Tenant") -> RehearsedOmneo:
        """Return a client of the tenant's Omneo."""
        return RehearsedOmneo.like(super().omneo(tenant))

    def _http(self, service: str, url: str, read_problem: "Callable[[Any], Problem]") -> HttpClient:
        def hear(exchange: Exchange) -> None:
            for listener in self.listeners:
                listener(exchange)

        most, longest = _PATIENCE
        waits = ShortWaits(most, longest, sleep=self.sleep)
        client = ListeningClient(service, url, read_problem, self._connections, short_waits=waits)
        client.hear = hear
        return client


_SHARED = ("documents", "keys", "tenants", "leases", "rests", "_connections")


def _names_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _names_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names_in(inner)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
