"""Connections to Klaviyo and Omneo. They stay open, each thread has its own, and no answer takes longer than its call may.

client.py decides what a call sends and what an answer means.
"""

import http.client
import io
import logging
import socket
import threading
from http.cookiejar import DefaultCookiePolicy
from typing import Any, ClassVar

import requests
import urllib3
from requests.adapters import HTTPAdapter

from shared.http.deadlines import time_left

# Our name for Klaviyo and Omneo: an edge challenges callers without a name first. The version is the bundle's.
USER_AGENT = "omneo-klaviyo-extension/1.0.0"

# It logs the address of every call, and warns with the address where an answer's headers are malformed.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)


class _PunctualReader(io.RawIOBase):
    """Reads an answer no longer than the call may last: a socket's own time-out begins anew with every byte."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._socket = sock
        self._patience = sock.gettimeout()
        self._time_left = time_left()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._time_left()
        if left <= 0:
            raise TimeoutError("the call has lasted too long")
        self._socket.settimeout(left if self._patience is None else min(left, self._patience))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class PunctualResponse(http.client.HTTPResponse):
    """An answer that is read no longer than the present deadline (deadlines.py), however steadily it drips."""

    def __init__(self, sock: socket.socket, *args: Any, **named: Any) -> None:
        super().__init__(sock, *args, **named)
        self.fp = io.BufferedReader(_PunctualReader(self.fp.detach(), sock))


class _Connection(urllib3.connection.HTTPConnection):
    response_class = PunctualResponse


class _TlsConnection(urllib3.connection.HTTPSConnection):
    response_class = PunctualResponse


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class PunctualTlsPool(urllib3.HTTPSConnectionPool):
    """Connections to one host, whose answers last no longer than the present deadline."""

    ConnectionCls = _TlsConnection


class PunctualAdapter(HTTPAdapter):
    """Sends over connections whose answers last no longer than the present deadline."""

    def init_poolmanager(self, *args: Any, **named: Any) -> None:
        super().init_poolmanager(*args, **named)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": PunctualTlsPool}


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Find no redirect. Without this, requests reads its body to the end and parses the address, even if it does not follow it."""
        return None


class Connections:
    """Open connections to every host that we call; each thread has its own."""

    adapter: ClassVar[type[HTTPAdapter]] = PunctualAdapter

    def __init__(self) -> None:
        self._local = threading.local()

    def session(self) -> requests.Session:
        """Return this thread's session."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = _Session()
            session.trust_env = False  # no proxy, no netrc: only settings.py reads the environment
            session.headers.clear()
            session.headers["User-Agent"] = USER_AGENT
            # One tenant's cookie would travel with another's call: their hosts share a domain.
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
            session.mount("http://", self.adapter())
            session.mount("https://", self.adapter())
            self._local.session = session
        return session
