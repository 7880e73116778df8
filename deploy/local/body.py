"""The body of a caller's request, while it arrives."""

import socket
from collections.abc import Iterator
from typing import Protocol

import h11

from deploy.local.exchange import SHOWN

BODY_LIMIT = 32 * 1024 * 1024  # Cloud Run quotas: a request over HTTP/1 may have 32 MiB

_CHUNK = 64 * 1024


class TooLargeError(Exception):
    """The body is over the limit."""


class BrokenBodyError(Exception):
    """The client left, stopped sending, or sent invalid HTTP in the middle of its body."""


class Client(Protocol):
    """The connection that the body arrives on."""

    def received(self) -> h11.Event | None:
        """Return the received message, None if none is complete."""

    def await_more(self, answering: socket.socket | None = None) -> bool:
        """Wait for the client to send more, and return True; or for something from `answering`, and return False."""


class ArrivingBody:
    """The body of a call. It is passed on while it arrives, as Cloud Run does, and kept, because a second try needs it again."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._arrived = bytearray()
        self.is_whole = False

    def pieces(self, answering: socket.socket) -> Iterator[bytes]:
        """Yield it from its beginning, as it arrives; less of it if something comes from `answering` first."""
        for start in range(0, len(self._arrived), _CHUNK):
            yield bytes(self._arrived[start : start + _CHUNK])
        while not self.is_whole:
            event = self._next(answering)
            if event is None:
                return
            if (piece := self._kept(event)) is not None:
                yield piece

    def read(self) -> None:
        """Wait for the whole body."""
        while not self.is_whole and (event := self._next(None)) is not None:
            self._kept(event)

    def shown(self) -> bytes:
        """Return the beginning of the body."""
        return bytes(self._arrived[:SHOWN])

    def _next(self, answering: socket.socket | None) -> h11.Event | None:
        """Return the next part from the client, None once something comes from `answering`."""
        try:
            while (event := self._client.received()) is None:
                if not self._client.await_more(answering):
                    return None
        except (OSError, h11.RemoteProtocolError) as error:
            raise BrokenBodyError from error
        return event

    def _kept(self, event: h11.Event) -> bytes | None:
        if not isinstance(event, h11.Data):
            self.is_whole = True
            return None
        self._arrived += event.data
        if len(self._arrived) > BODY_LIMIT:
            raise TooLargeError
        return bytes(event.data)
