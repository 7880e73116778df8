"""The sandbox's HTTP: bodies of every framing, connections that stay open, and mistakes of its own."""

import http.client
import json
import time
from collections.abc import Iterator

import pytest

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.stage.faults import Faults
from deploy.local.sandbox.stage.messages import Answer, Request
from deploy.local.sandbox.stage.record import Call, Calls
from deploy.local.sandbox.stage.server import Listener

EVENT = {
    "data": {
        "type": "event",
        "attributes": {
            "properties": {},
            "metric": {"data": {"type": "metric", "attributes": {"name": "Reward Issued"}}},
            "profile": {"data": {"type": "profile", "attributes": {"email": "canary-jane@example.org"}}},
        },
    }
}
HEADERS = {
    "Authorization": "Bearer canary-token-access",
    "revision": "2026-10-15",
    "Content-Type": "application/vnd.api+json",
}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        sandbox.klaviyo.install("WBhXHN", access_token="canary-token-access")
        yield sandbox


@pytest.fixture
def connection(sandbox: Sandbox) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(sandbox.klaviyo.url.removeprefix("http://"), timeout=60)
    yield connection
    connection.close()


def test_a_chunked_body_is_read(sandbox: Sandbox, connection: http.client.HTTPConnection) -> None:
    whole = json.dumps(EVENT).encode()
    pieces = [whole[:7], whole[7:100], whole[100:]]
    connection.request("POST", "/api/events", iter(pieces), HEADERS, encode_chunked=True)
    assert connection.getresponse().status == 202
    assert sandbox.klaviyo.calls.all()[0].body == whole


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("Content-Length", "-1", b""),
        ("Content-Length", "many", b""),
        ("Content-Length", "999999999999", b""),
        ("Transfer-Encoding", "chunked", b"no length\r\n"),
    ],
)
def test_a_body_whose_end_cannot_be_found_is_400_and_ends_the_connection(
    connection: http.client.HTTPConnection, name: str, value: str, sent: bytes
) -> None:
    connection.putrequest("POST", "/api/events")
    connection.putheader(name, value)
    connection.endheaders(sent)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (400, b"")
    assert connection.sock.recv(1) == b""


def test_one_connection_serves_many_calls_and_each_answer_comes_in_one_part(
    connection: http.client.HTTPConnection,
) -> None:
    """Of two parts the second would wait for the acknowledgement of the first: 40 ms of each call."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    connection.connect()
    for _ in range(50):
        connection.sock.sendall(f"GET /api/profiles HTTP/1.1\r\nHost: sandbox\r\n{lines}\r\n".encode())
        head, _, body = connection.sock.recv(1 << 16).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert json.loads(body)["data"] == []


def test_a_head_request_is_answered_without_a_body(connection: http.client.HTTPConnection) -> None:
    for _ in range(2):
        connection.request("HEAD", "/api/events", headers=HEADERS)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (405, b"")


class Mistaken:
    """A service with a mistake in it."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.faults = Faults()

    def answer(self, request: Request, call: Call) -> Answer:
        raise LookupError(request.body.decode())

    def refusal(self, status: int) -> Answer:
        return Answer(status)


def test_a_mistake_of_its_own_is_named_by_place_and_quotes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    listener = Listener(Mistaken(), lambda _: Answer(200), port=0, clock=time.time).start()
    connection = http.client.HTTPConnection("127.0.0.1", listener.server_address[1], timeout=60)
    connection.request("POST", "/", b"canary-jane")
    with pytest.raises(http.client.RemoteDisconnected):
        connection.getresponse()
    connection.close()
    connection.request("GET", "/_sandbox/calls")
    assert connection.getresponse().status == 200
    connection.close()
    listener.close()
    printed = capfd.readouterr().err
    assert printed.startswith("sandbox: LookupError at ")
    assert "canary" not in printed


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_running(sandbox: Sandbox) -> None:
    taken = int(sandbox.omneo.url.rpartition(":")[2])
    second = Sandbox(omneo_port=taken)
    with pytest.raises(OSError, match="in use"):
        second.start()
    port = int(second.klaviyo.url.rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with pytest.raises(ConnectionRefusedError):
        connection.request("GET", "/")
