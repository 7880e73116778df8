"""A call that a function gets: its headers and body, and the tenant for which it counts. endpoints.py answers it."""

import io
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from flask import Request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from shared.errors import InvalidPayloadError, PayloadTooLargeError, SlowBodyError
from shared.receipts import Receipts
from shared.services import Services
from shared.tenants.tenants import Tenant
from shared.traffic.rules.counts import Row, What
from shared.traffic.traffic import Traffic
from shared.web.json_bodies import parse_json
from shared.web.slow_bodies import SlowBodies

Reply: TypeAlias = tuple[int, Mapping[str, object]]


@dataclass
class Counted:
    """The tenant for which a call counts, once it is known. A call that names no tenant of ours counts nowhere."""

    tenant: Tenant | None = None
    services: Services | None = None
    is_left_out: bool = False

    def by(self, tenant: Tenant, services: Services) -> None:
        """Let the call count for this tenant."""
        self.tenant, self.services = tenant, services

    def leave_out(self) -> None:
        """Let the call count nowhere, because it only asks, as a dry run does."""
        self.is_left_out = True

    def accepted(self, status: int, reply: Mapping[str, object], fields: Mapping[str, Any]) -> None:
        """Count the call, and leave a receipt of its job. `fields` are the fields of its log line."""
        self._count(Row(fields["target"], What.ACCEPTED, fields.get("metric", "")), fields.get("records", 1))
        id = reply.get("id")
        if status == 202 and isinstance(id, str) and self.tenant and self.services:
            kind, metric = fields.get("kind", ""), fields.get("metric", "")
            Receipts.of(self.services).queued(self.tenant, id, kind, metric)

    def refused(self, reason: str, fields: Mapping[str, Any]) -> None:
        """Count the call as one that was refused for this reason."""
        self._count(Row(fields["target"], What.REFUSED, fields.get("metric", ""), reason))

    def _count(self, row: Row, number: int = 1) -> None:
        if self.tenant and self.services and not self.is_left_out:
            Traffic.of(self.services).count(self.tenant.name, row, number)


@dataclass(frozen=True)
class Call:
    """A call that has come in: its path's variables, query, headers (any case) and raw body."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Headers
    body: bytes
    traceparent: str
    counted: Counted = field(default_factory=Counted)


def read_body(request: Request, largest: int) -> bytes:
    """Return at most `largest` bytes of the body and one more. A body in chunks does not tell its length.

    Raises:
        RequestEntityTooLarge: the body is larger and says so.
        HTTPException, OSError: the body ends early.
    """
    vars(request).pop("stream", None)  # the body was put aside
    request.max_content_length = largest + 1
    return request.get_data()


def json_body(call: Call, *, lenient: bool = False) -> Any:
    """Return the body's JSON value. Takes what `parse_json` takes, and raises as it does."""
    return parse_json(call.headers.get("Content-Type", ""), call.body, lenient=lenient)


def check_query(request: Request) -> None:
    """Refuse a URL that names a parameter twice: nobody can tell which of the two is meant.

    Raises:
        InvalidPayloadError: a parameter stands there more than once.
    """
    if any(len(values) > 1 for values in request.args.listvalues()):
        raise InvalidPayloadError("A parameter stands in the URL more than once.")


def body_of(request: Request, largest: int, slow: SlowBodies) -> bytes:
    """Return the whole body of at most `largest` bytes.

    Raises:
        SlowBodyError: the body came too slowly.
        InvalidPayloadError: the body ended early.
        PayloadTooLargeError: the body is larger.
    """
    body, ended_early = None, False
    with slow.watched(request.environ) as reading:
        try:
            body = read_body(request, largest)
        except RequestEntityTooLarge:
            pass  # no body was read: it is refused below as too large
        except (HTTPException, OSError):
            ended_early = True
    if reading is not None and reading.is_late:
        raise SlowBodyError(f"The body was not here after {slow.seconds:.0f} seconds. Send it again.")
    if ended_early:
        raise InvalidPayloadError("The body ended early.")
    if body is None or len(body) > largest:
        # The framework reads the rest of a body, and would fail at the limit again.
        request.stream = io.BytesIO()
        raise PayloadTooLargeError(f"Send at most {largest // 1000} KB.")
    return body


def traceparent_of(headers: Headers) -> str:
    """Return the caller's W3C trace context, or begin a trace."""
    given = headers.get("traceparent", "")
    if re.fullmatch(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", given):
        return given
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
