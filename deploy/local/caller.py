"""One connection of a caller: each of its calls is forwarded to a function, and the answer passed back while it arrives."""

import contextlib
import json
import secrets
import selectors
import socket
import socketserver
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import h11

from deploy.local.body import BODY_LIMIT, ArrivingBody, BrokenBodyError, TooLargeError
from deploy.local.exchange import SHOWN, Exchange
from deploy.local.upstream import HEAD_LIMIT, Pool, UnansweredError, ask, events

if TYPE_CHECKING:
    from deploy.local.gateway import Listener

CLIENT_PATIENCE = 60.0  # seconds a client may stay silent between and within its requests

_CHUNK = 64 * 1024
_RETRY_AFTER = (b"Retry-After", b"1")
_HOP_BY_HOP = {  # RFC 9110, 7.6.1; Transfer-Encoding is written anew by h11
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te",
    b"trailer", b"upgrade", b"expect",
}  # fmt: skip

_Headers = list[tuple[bytes, bytes]]


class Caller(socketserver.BaseRequestHandler):
    """One connection of a caller, one request after the other."""

    server: "Listener"
    request: socket.socket
    _seen: Exchange | None = None
    _untold: contextlib.ExitStack  # its closing gives the watcher the exchange, once

    def handle(self) -> None:
        self.server.connections.add(self.request)
        self.request.settimeout(CLIENT_PATIENCE)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self._untold = contextlib.ExitStack()
        # The client left, or a function broke off in the middle of an answer.
        with contextlib.suppress(OSError):
            while True:
                with self._untold:
                    is_reusable = self._serve()
                if not is_reusable:
                    break
                self._http.start_next_cycle()

    def finish(self) -> None:
        self.server.connections.discard(self.request)

    def _serve(self) -> bool:
        """Answer one request; say whether the connection is good for another."""
        self._seen = None
        try:
            request = self._receive()
            if not isinstance(request, h11.Request):
                return False
            self._answer(request)
        except (h11.RemoteProtocolError, BrokenBodyError) as error:
            hint = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
            self._refuse(hint, "malformed_request", "this is not valid HTTP/1.1", close=True)
            return False
        except TooLargeError:
            self._refuse(413, "payload_too_large", "the body must be 32 MB or smaller", close=True)
        if self._http.their_state is h11.SEND_BODY:  # it was answered before it had sent everything
            _drain(self.request)
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def _answer(self, request: h11.Request) -> None:
        if int(dict(request.headers).get(b"content-length", b"0")) > BODY_LIMIT:
            raise TooLargeError
        body = ArrivingBody(self)
        pool = self.server.pool_for(request.target)
        if pool is None:
            body.read()
            self._refuse(404, "not_found", "no such path here", method=request.method)
        else:
            self._watched(pool, self._as_sent_on(request), body)

    def _receive(self) -> h11.Event:
        while (event := self.received()) is None:
            self.await_more()
        return event

    def received(self) -> h11.Event | None:
        """Return the received message, None if none is complete."""
        event = self._http.next_event()
        return event if isinstance(event, h11.Event) else None

    def await_more(self, answering: socket.socket | None = None) -> bool:
        """Wait for the client to send more, and return True; or for something from `answering`, and return False.

        Raises:
            TimeoutError: the client stays silent.
        """
        if self._http.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            self.request.sendall(self._http.send(go_on) or b"")
        if answering is not None:
            ready = _readable(self.request, answering)
            if not ready:
                raise TimeoutError
            if answering in ready:
                return False
        self._http.receive_data(self.request.recv(_CHUNK))
        return True

    def _as_sent_on(self, request: h11.Request) -> h11.Request:
        headers = _end_to_end(request)
        told = [value for name, value in headers if name.lower() == b"x-forwarded-for"]
        headers = [(n, v) for n, v in headers if n.lower() not in {b"x-forwarded-for", b"x-forwarded-proto"}]
        if not any(name.lower() == b"host" for name, _value in headers):
            headers.append((b"Host", b"127.0.0.1"))  # HTTP/1.0 needs none, 1.1 does
        headers.append((b"X-Forwarded-For", b", ".join([*told, str(self.client_address[0]).encode()])))
        headers.append((b"X-Forwarded-Proto", b"http"))
        return h11.Request(method=request.method, target=request.target, headers=headers)

    def _watched(self, pool: Pool, request: h11.Request, body: ArrivingBody) -> None:
        """Forward the request. The watcher, if there is one, gets the result before the caller has the whole answer."""
        watch = None if pool in self.server.unwatched else self.server.watch
        if watch is None:
            self._forward(pool, request, body)
            return
        if not any(name.lower() == b"traceparent" for name, _value in request.headers):
            trace = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01".encode()
            headers = [*request.headers.raw_items(), (b"traceparent", trace)]
            request = h11.Request(method=request.method, target=request.target, headers=headers)
        seen = self._seen = Exchange(
            time.time(),
            request.method.decode(),
            request.target.decode("latin-1"),
            _as_text(request),
            b"",
        )

        def tell() -> None:
            seen.answered_at = time.time()
            seen.body = body.shown()
            watch(seen)

        self._untold.callback(tell)
        self._forward(pool, request, body)

    def _forward(self, pool: Pool, request: h11.Request, body: ArrivingBody) -> None:
        """Ask the function; once more on a new connection when a reused one turns out to be dead.

        Such a connection was closed before the function read the request. Should the function have died over the request instead, the
        caller would be told 503 and repeat it: every endpoint is made to bear that.
        """
        try:
            reused = pool.take()
            try:
                self._exchange(pool, reused or pool.connect(), request, body)
            except UnansweredError as error:
                if reused is None or not error.silent:
                    raise
                self._exchange(pool, pool.connect(), request, body)
        except TimeoutError:
            self._refuse(504, "timeout", "the function did not answer in time", method=request.method)
        except (UnansweredError, OSError):
            message = "this function is not up; try again"
            self._refuse(503, "unavailable", message, method=request.method, headers=[_RETRY_AFTER])

    def _exchange(
        self, pool: Pool, connection: socket.socket, request: h11.Request, body: ArrivingBody
    ) -> None:
        upstream = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_LIMIT)
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(connection.close)
            self._pass_on(ask(connection, upstream, request, body), connection, upstream)
            if upstream.our_state is h11.DONE and upstream.their_state is h11.DONE:
                cleanup.pop_all()
                pool.give(connection)

    def _pass_on(self, response: h11.Response, connection: socket.socket, upstream: h11.Connection) -> None:
        """Send the answer on while it arrives. One that breaks off breaks off for the client too."""
        head = h11.Response(
            status_code=response.status_code, reason=response.reason, headers=_end_to_end(response)
        )
        self._waiting = bytearray(self._http.send(head) or b"")
        if self._seen is not None:
            self._seen.answer_headers = _as_text(head)
            self._seen.status = head.status_code
        try:
            for event in events(connection, upstream, before_waiting=self._flush):
                self._note(event)
                self._waiting += self._http.send(event) or b""
                if isinstance(event, h11.EndOfMessage):
                    break
                if len(self._waiting) > _CHUNK:
                    self._flush()
        except (OSError, h11.RemoteProtocolError) as error:
            raise ConnectionAbortedError from error
        self._untold.close()
        self._flush()

    def _note(self, event: h11.Event) -> None:
        if self._seen is not None and isinstance(event, h11.Data) and len(self._seen.answer_body) < SHOWN:
            self._seen.answer_body += bytes(event.data)[:SHOWN]

    def _flush(self) -> None:
        self.request.sendall(self._waiting)
        self._waiting.clear()

    def _refuse(
        self,
        status: int,
        code: str,
        message: str,
        *,
        method: bytes = b"",
        close: bool = False,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        body = json.dumps({"error": {"code": code, "message": message}}).encode()
        if self._seen is not None:
            self._seen.status, self._seen.answer_body = status, bytearray(body)
        all_headers = [
            (b"Content-Type", b"application/json"),
            (b"Content-Length", str(len(body)).encode()),
            *headers,
            *([(b"Connection", b"close")] if close else []),
        ]
        answer = self._http.send(h11.Response(status_code=status, headers=all_headers)) or b""
        if method != b"HEAD":
            answer += self._http.send(h11.Data(data=body)) or b""
        answer += self._http.send(h11.EndOfMessage()) or b""
        self._untold.close()
        self.request.sendall(answer)


def _end_to_end(message: h11.Request | h11.Response) -> _Headers:
    """Return the headers that are meant for the other end, in their order and spelling."""
    connection = [value for name, value in message.headers if name == b"connection"]
    named = {token.strip().lower() for value in connection for token in value.split(b",")}
    return [(n, v) for n, v in message.headers.raw_items() if n.lower() not in _HOP_BY_HOP | named]


def _as_text(message: h11.Request | h11.Response) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message.headers.raw_items()]


def _readable(*connections: socket.socket) -> list[object]:
    """Return those from which something comes, none if nothing does for as long as a client may stay silent."""
    # Not `select`, which bears no descriptor above 1023.
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        return [key.fileobj for key, _events in selector.select(CLIENT_PATIENCE)]


def _drain(connection: socket.socket) -> None:
    """Read on for a moment: a client still sending would otherwise see a reset instead of our answer."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(1)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and connection.recv(_CHUNK):
        pass
