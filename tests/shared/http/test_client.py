"""One call over the wire, and every way it can go wrong: each comes out as one of our errors, in time, and says nothing secret."""

import gzip
import ipaddress
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import responses
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import example, given, settings
from hypothesis import strategies as st

import shared.klaviyo.client
import shared.klaviyo.oauth
import shared.omneo.client
from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.stage.faults import Kind
from shared import logs
from shared.errors import NotFoundError, RefusedError, ServiceError, TokenRejectedError, WaitError
from shared.http.answers import DETAIL_LENGTH, Problem, retry_after
from shared.http.client import HttpClient, Limits
from shared.http.connections import Connections
from shared.http.deadlines import lasting
from tests.support.world import ACCOUNT, EMAIL

TOKEN = "canary-bearer"
LONG = Limits()
SHORT = Limits(connect=2.0, read=0.5, total=1.0)
EVENT = {
    "data": {
        "type": "event",
        "attributes": {
            "metric": {"data": {"type": "metric", "attributes": {"name": "Reward Issued"}}},
            "profile": {"data": {"type": "profile", "attributes": {"email": EMAIL}}},
            "properties": {},
        },
    }
}

READERS = [
    shared.klaviyo.client.read_problem,
    shared.klaviyo.oauth.read_problem,
    shared.omneo.client.read_problem,
]

Answerer = Callable[[bytes, bytes], bytes | Iterator[bytes]]


@dataclass
class Wire:
    """A server that answers byte for byte what a test gives it, and keeps what it was sent: head and body of each request."""

    answer: Answerer
    tls: ssl.SSLContext | None = None
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _talk(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(10)
            wrapped = self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
            with wrapped, wrapped.makefile("rb") as stream:
                while self._one(wrapped, stream):
                    pass
        except OSError:
            return  # the client is gone, as it should be from most of these answers

    def _one(self, connection: socket.socket, stream: Any) -> bool:
        head = b""
        while (line := stream.readline()) not in (b"", b"\r\n"):
            head += line
        if not line:
            return False
        lengths = [
            line.split(b":")[1] for line in head.lower().splitlines() if line.startswith(b"content-length")
        ]
        body = stream.read(int(lengths[0])) if lengths else b""
        with self._lock:
            self.requests.append((head, body))
        given = self.answer(head, body)
        for part in [given] if isinstance(given, bytes) else given:
            connection.sendall(part)
        return isinstance(given, bytes) and b"Connection: close" not in given


@contextmanager
def wire(answer: bytes | Answerer, *, tls: ssl.SSLContext | None = None) -> Iterator[Wire]:
    server = Wire((lambda head, body: answer) if isinstance(answer, bytes) else answer, tls)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


def http_answer(body: bytes = b"{}", status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def plain_problem(body: Any) -> Problem:
    """Read an error as `{"code": ..., "field": ..., "detail": ...}`."""
    return Problem(
        code=str(body["code"] or ""),
        field=str(body.get("field", "")),
        detail=str(body.get("detail", "")),
        request_id=str(body.get("id", "")),
    )


def client(url: str, limits: Limits = LONG, connections: Connections | None = None) -> HttpClient:
    return HttpClient("Klaviyo", url, plain_problem, connections or Connections(), limits=limits)


def get(http: HttpClient, path: str = "/x", token: str = TOKEN, **params: str) -> Any:
    return http.call("GET", path, headers={"Authorization": f"Bearer {token}"}, params=params or None)


@pytest.fixture
def create_event(sandbox: Sandbox) -> Callable[..., Any]:
    """Return a call that creates an event in the sandbox, over the same connections each time."""
    token, connections = sandbox.klaviyo.install(ACCOUNT).access_token, Connections()
    headers = {
        "Authorization": f"Bearer {token}",
        "revision": "2026-10-15",
        "Content-Type": "application/vnd.api+json",
    }

    def create_event(limits: Limits = LONG) -> Any:
        http = HttpClient(
            "Klaviyo", sandbox.klaviyo.url, shared.klaviyo.client.read_problem, connections, limits=limits
        )
        return http.call("POST", "/api/events", headers=headers, data=json.dumps(EVENT).encode())

    return create_event


# What an answer means


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, RefusedError, "invalid"), (401, TokenRejectedError, "not_authenticated"), (403, RefusedError, "permission_denied"),
        (404, NotFoundError, "not_found"), (405, RefusedError, None), (408, WaitError, None), (409, RefusedError, None),
        (410, RefusedError, None), (413, RefusedError, None), (415, RefusedError, None), (422, RefusedError, None),
        (425, WaitError, None), (429, WaitError, "throttled"), (451, RefusedError, None), (500, WaitError, None),
        (501, WaitError, None), (502, WaitError, None), (503, WaitError, None), (504, WaitError, None), (524, WaitError, None),
    ],
)  # fmt: skip
def test_each_status_comes_out_as_the_error_that_says_what_to_do(
    sandbox: Sandbox,
    create_event: Callable[..., Any],
    status: int,
    kind: type[ServiceError],
    code: str | None,
) -> None:
    sandbox.klaviyo.fail(status=status)
    with pytest.raises(ServiceError) as failed:
        create_event()
    error = failed.value
    assert type(error) is kind
    assert (error.service, error.status) == ("Klaviyo", status)
    assert error.code == code if code else error.code
    assert error.retry_after == (1.0 if status == 429 else None)
    assert str(status) in str(error)
    create_event()  # the connection is fit for the next call
    assert len(sandbox.klaviyo.events(ACCOUNT)) == 1


@pytest.mark.parametrize(
    ("kind", "said", "status"),
    [
        ("reset", "could not be reached", None),
        ("hang", "did not answer in time", None),
        ("slow", "did not answer in time", None),
        ("html403", "answered 403 from its edge, not its API", 403),
        ("truncated", "broke off its answer", 200),
        ("broken_json", "a body that is not JSON", 200),
    ],
)
def test_each_fault_of_the_wire_is_worth_another_try(
    sandbox: Sandbox, create_event: Callable[..., Any], kind: Kind, said: str, status: int | None
) -> None:
    sandbox.klaviyo.fail(kind=kind, seconds=30)
    began = time.monotonic()
    with pytest.raises(WaitError, match=said) as failed:
        create_event(SHORT)
    assert failed.value.status == status
    assert time.monotonic() - began < 20
    create_event()


def test_an_answer_that_drips_is_given_up_at_the_deadline_however_steadily_it_drips(
    sandbox: Sandbox, create_event: Callable[..., Any]
) -> None:
    sandbox.klaviyo.fail(kind="drip", seconds=60)
    began = time.monotonic()
    with pytest.raises(WaitError, match="did not answer in time"):
        create_event(SHORT)
    assert 0.8 < time.monotonic() - began < 30


def test_a_body_that_drips_is_given_up_at_the_deadline_too() -> None:
    def drip(head: bytes, body: bytes) -> Iterator[bytes]:
        yield http_answer(b"")[:-21] + b"Content-Length: 1000\r\n\r\n"
        for _ in range(600):
            time.sleep(0.1)
            yield b" "

    with wire(drip) as server:
        began = time.monotonic()
        with pytest.raises(WaitError, match="took too long") as failed:
            get(client(server.url, SHORT))
        assert 0.8 < time.monotonic() - began < 30  # it drips for a minute
        assert failed.value.status == 200


def test_silence_in_the_middle_of_an_answer_lasts_no_longer_than_the_deadline() -> None:
    def falls_silent(head: bytes, body: bytes) -> Iterator[bytes]:
        yield b"HTTP/1.1 200"
        time.sleep(60)

    with wire(falls_silent) as server:
        began = time.monotonic()
        with pytest.raises(WaitError, match="did not answer in time"):
            get(client(server.url, Limits(read=40.0, total=0.3)))
        assert time.monotonic() - began < 30


def test_a_call_ends_when_what_is_around_it_has_to_end() -> None:
    def falls_silent(head: bytes, body: bytes) -> Iterator[bytes]:
        yield b"HTTP/1.1 200"
        time.sleep(60)

    with wire(falls_silent) as server:
        began = time.monotonic()
        with lasting(lambda: began + 0.3 - time.monotonic()), pytest.raises(WaitError, match="in time"):
            get(client(server.url, Limits(read=40.0, total=50.0)))
        assert time.monotonic() - began < 30


def test_no_call_begins_when_no_time_is_left() -> None:
    with wire(http_answer()) as server, lasting(lambda: 0.0):
        with pytest.raises(WaitError, match="no time was left"):
            get(client(server.url))
        assert server.connections == 0


def test_a_deadline_that_passes_between_two_reads_ends_the_call() -> None:
    def in_two_parts(head: bytes, body: bytes) -> Iterator[bytes]:
        yield http_answer()[:10]
        time.sleep(0.1)
        yield http_answer()[10:]

    times = iter([0.0, 0.1])
    with wire(in_two_parts) as server:
        http = HttpClient(
            "Klaviyo", server.url, plain_problem, Connections(), monotonic=lambda: next(times, 1000.0)
        )
        with pytest.raises(WaitError, match="in time"):
            get(http)
        assert len(server.requests) == 1


def test_an_answer_that_drips_within_the_deadline_is_taken(
    sandbox: Sandbox, create_event: Callable[..., Any]
) -> None:
    sandbox.klaviyo.fail(kind="drip", seconds=0.1)
    assert create_event() is None
    assert len(sandbox.klaviyo.events(ACCOUNT)) == 1


@pytest.mark.parametrize("status", [202, 204, 205])
def test_a_status_that_needs_no_body_is_enough(
    sandbox: Sandbox, create_event: Callable[..., Any], status: int
) -> None:
    sandbox.klaviyo.fail(status=status, body="")
    assert create_event() is None


@pytest.mark.parametrize("body", [b"", b" \r\n"])
@pytest.mark.parametrize("status", ["200 OK", "201 Created", "203 Other", "206 Part"])
def test_a_success_that_should_have_a_body_and_has_none_is_worth_another_try(
    status: str, body: bytes
) -> None:
    with (
        wire(http_answer(body, status)) as server,
        pytest.raises(WaitError, match="without a body") as failed,
    ):
        get(client(server.url))
    assert failed.value.status == int(status[:3])


@pytest.mark.parametrize("body", [b"", b"OK", b"<html>canary</html>", b"{", b"null"])
def test_any_success_is_enough_where_the_call_says_so(body: bytes) -> None:
    with wire(http_answer(body)) as server:
        assert client(server.url).call("GET", "/x", headers={}, any_success=True) is None
    with wire(http_answer(b'{"a": 1}')) as server:
        assert client(server.url).call("GET", "/x", headers={}, any_success=True) == {"a": 1}
    with wire(http_answer(b"OK", "503 Down")) as server, pytest.raises(WaitError):
        client(server.url).call("GET", "/x", headers={}, any_success=True)


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b'{"a": 1}', {"a": 1}), (b"[]", []), (b"0", 0), ('"\u20ac"'.encode(), "\u20ac")],
)
def test_a_json_answer_is_returned_whatever_its_media_type(body: bytes, expected: object) -> None:
    with wire(http_answer(body, "201 Created", "Content-Type: text/html")) as server:
        assert get(client(server.url)) == expected


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"{", b'{"a": NaN}', b"Infinity", b"\xff\xfe\xfa", b"[" * 100_000, b"1" * 5000],
    ids=["html", "open", "nan", "infinity", "bytes", "deep", "digits"],
)
def test_a_success_that_is_not_json_is_worth_another_try(body: bytes) -> None:
    with wire(http_answer(body)) as server, pytest.raises(WaitError, match="a body that is not JSON"):
        get(client(server.url))


@pytest.mark.parametrize(
    "answer",
    [
        b"canary\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 2000 High\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot-hex\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\ncanary",
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        b"",
    ],
    ids=["noise", "no-status", "low", "high", "header", "headers", "chunk", "half-chunk", "gzip", "103", "304", "nothing"],
)  # fmt: skip
def test_what_is_no_answer_at_all_is_worth_another_try(answer: bytes) -> None:
    with wire(lambda head, body: iter([answer])) as server, pytest.raises(WaitError) as failed:
        get(client(server.url))
    assert "canary" not in str(failed.value)


def test_a_closed_port_is_worth_another_try() -> None:
    with wire(b"") as server:
        gone = server.url
    with pytest.raises(WaitError, match="could not be reached"):
        get(client(gone))


# Where the token goes


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent", "300 Many"]
)
def test_a_redirect_is_not_followed_and_the_token_does_not_travel(status: str) -> None:
    with wire(http_answer()) as elsewhere:
        with wire(http_answer(b"moved", status, f"Location: {elsewhere.url}/x")) as server:
            with pytest.raises(WaitError, match=f"answered {status[:3]}, which this call never should"):
                get(client(server.url))
            assert len(server.requests) == 1
        assert elsewhere.connections == 0


@pytest.mark.parametrize(
    "location",
    [
        "http://[",
        "http://[::1",
        "\xff\xfe",
        "",
        "//",
        "ftp://x",
        "http://x:99999",
        "http://.example",
        "/" * 9000,
    ],
    ids=["bracket", "open", "bytes", "empty", "slashes", "scheme", "port", "dot", "long"],
)
def test_where_a_redirect_points_is_not_even_parsed(location: str) -> None:
    with (
        wire(http_answer(b"", "302 Found", f"Location: {location}")) as server,
        pytest.raises(WaitError, match="answered 302"),
    ):
        get(client(server.url))


def test_a_redirects_body_is_held_to_the_same_limits() -> None:
    with (
        wire(http_answer(b"x" * 2000, "302 Found", "Location: /y")) as server,
        pytest.raises(WaitError, match="more than can be read"),
    ):
        get(client(server.url, Limits(answer=1000)))


def test_proxies_and_netrc_of_the_environment_are_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with wire(http_answer()) as proxy, wire(http_answer()) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login canary password canary\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        client(server.url).call("GET", "/x", headers={})
        assert proxy.connections == 0
        assert b"authorization" not in server.requests[0][0].lower()


def test_no_cookie_is_kept_because_tenants_share_the_connections() -> None:
    with wire(http_answer(b"{}", "200 OK", "Set-Cookie: session=canary; Path=/")) as server:
        http = client(server.url)
        get(http)
        get(http)
    assert len(server.requests) == 2
    assert all(b"cookie" not in head.lower() for head, _ in server.requests)


@pytest.mark.parametrize(
    "token",
    ["canary\n", "canary\r\nX-Evil: 1", "canary\u2026", "canary\u0100"],
    ids=["lf", "crlf", "dots", "latin"],
)
def test_a_token_that_cannot_stand_in_a_header_is_not_sent_and_not_told(token: str) -> None:
    with wire(http_answer()) as server:
        with pytest.raises(WaitError, match="the token is not fit for a header") as failed:
            get(client(server.url), token=token)
        assert "canary" not in str(failed.value)
        assert failed.value.__suppress_context__
        assert server.requests == []


def test_a_plain_server_on_a_tls_port_is_told_nothing() -> None:
    with wire(http_answer()) as server:
        with pytest.raises(WaitError):
            get(client(server.url.replace("http://", "https://"), Limits(connect=0.2)))
        assert all(TOKEN.encode() not in head for head, _ in server.requests)


def test_the_address_of_a_call_with_a_malformed_answer_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    with wire(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nno colon here\r\n\r\n{}") as server:
        assert get(client(server.url), **{"filter[email]": EMAIL}) == {}
    assert "canary" not in caplog.text


# TLS


def a_certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return a server's TLS context for 127.0.0.1, and the file that lets a client trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context, pem


def test_over_tls_the_deadline_holds_and_an_unknown_certificate_is_not_trusted(tmp_path: Path) -> None:
    context, pem = a_certificate(tmp_path)

    def drip(head: bytes, body: bytes) -> bytes | Iterator[bytes]:
        return http_answer(b"[1]") if b"/quick" in head else slowly()

    def slowly() -> Iterator[bytes]:
        for letter in f"HTTP/1.1 200 OK\r\nX-Long: {'a' * 600}".encode():
            time.sleep(0.1)
            yield bytes([letter])

    with wire(drip, tls=context) as server:
        with pytest.raises(WaitError, match="could not be reached"):
            get(client(server.url), "/quick")
        connections = Connections()
        connections.session().verify = str(pem)
        http = client(server.url, connections=connections)
        assert get(http, "/quick") == [1]
        began = time.monotonic()
        with pytest.raises(WaitError, match="did not answer in time"):
            get(client(server.url, SHORT, connections), "/slow")
        assert time.monotonic() - began < 30  # it drips for a minute


# How much


def test_an_answer_of_more_than_the_limit_is_not_read_to_its_end() -> None:
    sent = 0

    def endless(head: bytes, body: bytes) -> Iterator[bytes]:
        nonlocal sent
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while True:
            sent += 1_000_000
            yield b" " * 1_000_000

    with wire(endless) as server:
        with pytest.raises(WaitError, match="more than can be read") as failed:
            get(client(server.url, Limits()))
        assert failed.value.status == 200
    assert 32_000_000 <= sent < 64_000_000


def test_the_limit_itself_is_read_and_one_byte_more_is_not() -> None:
    with wire(lambda head, body: http_answer(b"1".rjust(1001 if b"/more" in head else 1000))) as server:
        http = client(server.url, Limits(answer=1000))
        assert get(http) == 1
        with pytest.raises(WaitError, match="more than can be read"):
            get(http, "/more")


def test_a_compressed_answer_is_held_to_the_limit_by_what_it_unfolds_to() -> None:
    bomb = gzip.compress(b" " * 5_000_000)
    with (
        wire(http_answer(bomb, "200 OK", "Content-Encoding: gzip")) as server,
        pytest.raises(WaitError, match="more than can be read"),
    ):
        get(client(server.url, Limits(answer=1_000_000)))


def test_a_body_of_many_megabytes_is_sent_whole() -> None:
    with wire(lambda head, body: http_answer(str(len(body)).encode())) as server:
        assert (
            client(server.url, Limits()).call("POST", "/x", headers={}, data=b"x" * 33_000_000) == 33_000_000
        )


# What a call looks like


def test_a_call_carries_its_own_headers_and_no_more_than_http_needs() -> None:
    with wire(http_answer()) as server:
        get(client(server.url), "/a/b")
        head = server.requests[0][0].decode()
    assert head.startswith("GET /a/b HTTP/1.1\r\n")
    names = sorted(line.split(":")[0].lower() for line in head.splitlines()[1:])
    assert names == ["accept-encoding", "authorization", "host", "user-agent"]
    assert f"Authorization: Bearer {TOKEN}\r\n" in head
    assert re.search(r"User-Agent: omneo-klaviyo-extension/\d+\.\d+\.\d+\r\n", head)


def test_parameters_are_encoded_so_that_a_plus_stays_a_plus() -> None:
    with wire(http_answer()) as server:
        get(client(server.url), **{"filter[email]": "canary+a&b=c@example.org"})
        assert b"GET /x?filter%5Bemail%5D=canary%2Ba%26b%3Dc%40example.org HTTP" in server.requests[0][0]


# What the service said


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("17", 17.0), (" 0 ", 0.0), ("999999999", 999999999.0), ("1000000000", None), ("-1", None), ("1.5", None),
        ("", None), ("soon", None), ("\u0661", None), ("\u00b2", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("1, 2", None),
    ],
)  # fmt: skip
def test_retry_after_is_whole_seconds_or_nothing(text: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": text}) == seconds
    assert retry_after({}) is None


@pytest.mark.parametrize("name", ["Retry-After", "retry-after", "RETRY-AFTER"])
@pytest.mark.parametrize("status", ["429 Throttled", "503 Down", "408 Late"])
def test_retry_after_counts_on_every_status_that_waits_in_any_case(status: str, name: str) -> None:
    with wire(http_answer(b"", status, f"{name}: 17")) as server, pytest.raises(WaitError) as failed:
        get(client(server.url))
    assert failed.value.retry_after == 17.0


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("400 Bad", "Klaviyo answered 400: invalid at /data/attributes/x y"),
        ("404 Missing", "Klaviyo answered 404: invalid at /data/attributes/x y"),
        ("401 No", "Klaviyo answered 401: invalid at /data/attributes/x y"),
        ("503 Down", "Klaviyo answered 503"),
    ],
)
def test_what_the_service_said_is_kept_but_is_not_in_the_message(status: str, message: str) -> None:
    said = {"code": "invalid", "field": "/data/attributes/x y", "detail": f"{EMAIL} is not welcome"}
    with (
        wire(http_answer(json.dumps(said).encode(), status)) as server,
        pytest.raises(ServiceError) as failed,
    ):
        get(client(server.url))
    error = failed.value
    assert (error.code, error.detail) == ("invalid", said["detail"])
    assert "canary" not in str(error) + repr(error)
    assert str(error) == message


@pytest.mark.parametrize("status", ["400 Bad", "503 Down"])
@pytest.mark.parametrize("strange", [EMAIL, "<canary>", "canary\n", "canary " * 100, '{"canary": 1}'])
def test_a_code_or_field_that_could_be_a_value_is_left_out(strange: str, status: str) -> None:
    said = {"code": strange, "field": strange, "detail": strange}
    with (
        wire(http_answer(json.dumps(said).encode(), status)) as server,
        pytest.raises(ServiceError) as failed,
    ):
        get(client(server.url))
    assert str(failed.value) == f"Klaviyo answered {status[:3]}"
    assert (failed.value.code, failed.value.detail) == ("", strange)


def test_a_long_detail_is_cut_because_a_dead_job_has_to_hold_it() -> None:
    said = {"code": "invalid", "detail": "x" * 1_000_000}
    with (
        wire(http_answer(json.dumps(said).encode(), "400 Bad")) as server,
        pytest.raises(RefusedError) as failed,
    ):
        get(client(server.url))
    assert failed.value.detail == "x" * DETAIL_LENGTH


EDGES = [
    b"", b" ", b"<html>canary</html>", b"canary", b"{", b"null", b"[]", b'"canary"', b"7", b"{}", b'{"canary": 1}',
    b'{"errors": "canary"}', b'{"errors": ["canary"]}', b'{"errors": [{"message": "canary"}]}', b'{"errors": [{"code": 7}]}',
    b'{"success": false, "errors": [{"code": 1020, "message": "canary"}]}', b'{"message": ["canary"]}', b'{"error": {"code": 404}}',
]  # fmt: skip


@pytest.mark.parametrize("reader", ["Klaviyo's API", "Klaviyo's OAuth", "Omneo"])
@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 405, 406, 409, 410, 411, 413, 414, 415, 417, 422, 423, 431, 451, 499]
)
def test_a_refusal_that_is_not_the_apis_own_json_is_an_edges_and_is_worth_another_try(
    status: int, reader: str
) -> None:
    read = dict(zip(["Klaviyo's API", "Klaviyo's OAuth", "Omneo"], READERS, strict=True))[reader]
    for body in EDGES:
        http = HttpClient("Klaviyo", "http://klaviyo.invalid", read, Connections())
        with responses.RequestsMock() as mock:
            mock.add(responses.GET, "http://klaviyo.invalid/x", status=status, body=body)
            with pytest.raises(ServiceError) as failed:
                get(http)
        assert type(failed.value) is WaitError, body
        assert failed.value.status == status
        assert str(failed.value) == f"Klaviyo answered {status} from its edge, not its API"


@pytest.mark.parametrize(
    ("reader", "body"),
    [
        (0, {"errors": [{"id": "r", "code": "x", "title": "t", "detail": "d"}]}), (0, {"errors": [{"detail": "d"}]}),
        (1, {"error": "invalid_client"}), (2, {"message": "No query results for model [App\\Models\\Profile]."}),
        (2, {"message": "The reward definition cannot be used."}),
        (2, {"errors": {"id": ["The id field is required."]}}),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, RefusedError), (401, TokenRejectedError), (402, RefusedError), (403, RefusedError), (404, NotFoundError),
     (405, RefusedError), (409, RefusedError), (410, RefusedError), (413, RefusedError), (414, RefusedError),
     (415, RefusedError), (422, RefusedError), (451, RefusedError)],
)  # fmt: skip
def test_a_refusal_in_the_apis_own_json_is_a_verdict(
    status: int, kind: type[ServiceError], reader: int, body: object
) -> None:
    http = HttpClient("Klaviyo", "http://klaviyo.invalid", READERS[reader], Connections())
    with responses.RequestsMock() as mock:
        mock.add(responses.GET, "http://klaviyo.invalid/x", status=status, json=body)
        with pytest.raises(ServiceError) as failed:
            get(http)
    assert type(failed.value) is kind
    assert failed.value.status == status


def test_what_a_403_lacks_stands_in_the_message_and_no_value_does() -> None:
    detail = f"You must have Advanced KDP enabled. {EMAIL}, +61 412 345 678, 'Canary', not found."
    said = {"code": "permission_denied", "detail": detail}
    with (
        wire(http_answer(json.dumps(said).encode(), "403 No")) as server,
        pytest.raises(RefusedError) as failed,
    ):
        get(client(server.url))
    assert str(failed.value) == (
        "Klaviyo answered 403: permission_denied (You must have Advanced KDP enabled. ... not found.)"
    )
    assert failed.value.detail == detail


@pytest.mark.parametrize(
    ("status", "body", "header", "expected"),
    [
        ("400 Bad", {"code": "invalid"}, "req-1", "req-1"), ("404 No", {"code": "x", "id": "of-the-body"}, None, "of-the-body"),
        ("503 Down", {"code": "x", "id": "of-the-body"}, "req-2", "req-2"), ("429 Slow", None, "req-3", "req-3"),
        ("503 Down", None, "canary@example.org", ""), ("400 Bad", {"code": "x", "id": "canary jane"}, None, ""),
        ("200 OK", None, "req-4", "req-4"),
    ],
)  # fmt: skip
def test_the_services_name_of_a_request_is_kept_with_what_went_wrong(
    status: str, body: object, header: str | None, expected: str
) -> None:
    headers = [f"X-Klaviyo-Req-Id: {header}"] if header else []
    raw = b"" if body is None else json.dumps(body).encode()
    with wire(http_answer(raw, status, *headers)) as server, pytest.raises(ServiceError) as failed:
        get(client(server.url))
    assert failed.value.request_id == expected


def test_the_services_name_of_a_request_stands_in_the_line_of_the_call(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("p")
    with wire(http_answer(b"{}", "200 OK", "X-Klaviyo-Req-Id: req-1")) as server:
        get(client(server.url))
    with wire(http_answer(b"{}", "200 OK", "X-Klaviyo-Req-Id: canary@example.org")) as server:
        get(client(server.url))
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["message"], first["status"], first["request"]) == ("outside call", 200, "req-1")
    assert "request" not in second


def test_a_date_of_retirement_is_remembered_until_the_next_one() -> None:
    answers = iter(
        [
            http_answer(),
            http_answer(b"{}", "404 No", "X-Klaviyo-Api-Retirement-Date: 2027-10-15"),
            http_answer(),
        ]
    )
    with wire(lambda head, body: next(answers)) as server:
        http = client(server.url)
        get(http)
        assert http.retirement == ""
        for _ in range(2):
            failure_of(http)
            assert http.retirement == "2027-10-15"


# Nothing of requests escapes

_KEYS = st.sampled_from(
    ["errors", "error", "code", "detail", "source", "pointer", "message", "error_description"]
)
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=8,
)
_BODIES = st.binary(max_size=40) | _JSON.map(lambda value: json.dumps(value).encode())
_DEEP = b'{"errors": {"f": ' + b"[" * 980 + b"]" * 980 + b"}}"
_HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "Location", "Content-Encoding", "Content-Type", "Set-Cookie"]),
    st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=10)
    | st.sampled_from(["gzip", "br", "http://[", "17", "a=b; Domain=.example", "application/json"]),
    max_size=3,
)


def failure_of(http: HttpClient) -> ServiceError | None:
    try:
        get(http)
    except ServiceError as error:
        return error
    return None


@settings(max_examples=300, deadline=None)
@given(status=st.integers(200, 999), body=_BODIES, headers=_HEADERS, reader=st.integers(0, 2))
@example(status=422, body=_DEEP, headers={}, reader=2)
@example(status=302, body=b"", headers={"Location": "http://["}, reader=0)
@example(status=302, body=b"", headers={"Location": "\xff"}, reader=0)
def test_any_answer_is_a_value_or_one_of_our_errors(
    status: int, body: bytes, headers: dict[str, str], reader: int
) -> None:
    http = HttpClient("Klaviyo", "http://klaviyo.invalid", READERS[reader], Connections())
    with responses.RequestsMock() as mock:
        mock.add(responses.GET, "http://klaviyo.invalid/x", status=status, body=body, headers=headers)
        error = failure_of(http)
    if error is None:
        assert 200 <= status < 300
    else:
        assert (error.service, error.status) == ("Klaviyo", status)
        assert len(str(error)) < 600


def _concrete(kind: type[requests.RequestException]) -> Iterator[type[requests.RequestException]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _concrete(below)


def _made(kind: type[requests.RequestException]) -> requests.RequestException:
    error = kind.__new__(kind)
    error.args = ("canary",)
    return error


KINDS = sorted(set(_concrete(requests.RequestException)), key=str)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.__name__ for kind in KINDS])
def test_every_exception_of_requests_comes_out_as_ours(kind: type[requests.RequestException]) -> None:
    with responses.RequestsMock() as mock:
        mock.add(responses.GET, "http://klaviyo.invalid/x", body=_made(kind))
        with pytest.raises(WaitError) as failed:
            get(client("http://klaviyo.invalid"))
    assert "canary" not in str(failed.value)
    assert failed.value.__suppress_context__


# Threads and connections


def test_a_connection_is_used_again_after_success_and_after_refusal() -> None:
    answers = iter(
        [http_answer(), http_answer(b'{"code": "x"}', "404 No"), http_answer(b"x", "503 Down"), http_answer()]
    )
    with wire(lambda head, body: next(answers)) as server:
        http = client(server.url)
        get(http)
        with pytest.raises(NotFoundError):
            get(http)
        with pytest.raises(WaitError):
            get(http)
        get(http)
        assert server.connections == 1


def test_a_connection_that_the_service_closes_is_replaced() -> None:
    with wire(http_answer(b"{}", "200 OK", "Connection: close")) as server:
        http = client(server.url)
        get(http)
        get(http)
        assert server.connections == 2


def test_threads_get_their_own_answers_over_their_own_connections() -> None:
    def echo(head: bytes, body: bytes) -> bytes:
        token = next(line for line in head.splitlines() if line.startswith(b"Authorization")).split()[-1]
        return http_answer(json.dumps([token.decode(), body.decode()]).encode())

    barrier = threading.Barrier(8)
    with wire(echo) as server:
        http = client(server.url, Limits())

        def twenty(number: int) -> bool:
            barrier.wait(60)
            own = [f"canary-{number}", "x" * number]
            headers = {"Authorization": f"Bearer {own[0]}"}
            return all(
                http.call("POST", "/x", headers=headers, data=own[1].encode()) == own for _ in range(20)
            )

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(twenty, range(1, 9)))
        assert server.connections == 8
        assert len(server.requests) == 160


def test_one_threads_deadline_is_not_anothers() -> None:
    def answer(head: bytes, body: bytes) -> bytes:
        if b"/slow" in head:
            time.sleep(0.8)
        return http_answer(b"1")

    connections = Connections()
    with wire(answer) as server, ThreadPoolExecutor(2) as pool:
        patient = pool.submit(get, client(server.url, Limits(), connections), "/slow")
        with pytest.raises(WaitError, match="in time"):
            get(client(server.url, SHORT, connections), "/slow")
        assert patient.result(10) == 1
