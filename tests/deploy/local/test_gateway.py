"""The gateway passes calls on unchanged, and answers for itself only when no function can."""

import http.client
import json
import os
import re
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.body import BODY_LIMIT
from deploy.local.exchange import SHOWN, Exchange, Watch
from deploy.local.free_ports import free_port
from deploy.local.gateway import Gateway
from deploy.local.path_templates import path_matcher
from deploy.local.processes import StartError
from deploy.local.upstream import Upstream
from deploy.staging import Route, load_functions, load_routes

Headers = list[tuple[str, str]]


@dataclass
class Received:
    method: str
    target: str
    headers: Headers
    body: bytes
    connection: int

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass
class Reply:
    status: int = 200
    headers: Headers = field(default_factory=list)
    body: bytes = b"done"
    hang_up: bool = False


class AFunction(ThreadingHTTPServer):
    """Stands for a function: keeps what it received and replies as told."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int = 0) -> None:
        self.received: list[Received] = []
        self.reply: Callable[[Received], Reply | None] = lambda _received: Reply()
        self.connections = 0
        super().__init__(("127.0.0.1", port), _Conversation)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a gateway that lost patience has hung up."""

    def __enter__(self) -> "AFunction":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_args: object) -> None:
        self.shutdown()
        self.server_close()


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    server: AFunction

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1
        self.number = self.server.connections

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self) -> None:
        _method, target, _version = self.requestline.split(" ")
        received = Received(self.command, target, list(self.headers.items()), self.whole_body(), self.number)
        self.server.received.append(received)
        reply = self.server.reply(received)
        if reply is None:  # it dies over the call
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        if not any(name == "Transfer-Encoding" for name, _value in reply.headers):
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.close_connection |= reply.hang_up

    def whole_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def function() -> Iterator[AFunction]:
    with AFunction() as function:
        yield function


@pytest.fixture
def gateways() -> Iterator[Callable[..., Gateway]]:
    with ExitStack() as stack:

        def start(
            port: int, timeout: float = 10, fresh: float = 60, path: str = "/**", watch: Watch | None = None
        ) -> Gateway:
            upstream = Upstream(port, timeout, fresh)
            gateway = Gateway([Route(path=path, function="it")], {"it": upstream}, port=0, watch=watch)
            stack.callback(gateway.stop)
            gateway.start()
            return gateway

        yield start


@pytest.fixture
def gateway(function: AFunction, gateways: Callable[..., Gateway]) -> Gateway:
    return gateways(function.server_port)


def spoken(gateway: Gateway, *sent: bytes) -> bytes:
    """Send exactly these bytes and return everything that comes until the gateway hangs up."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as connection:
        for piece in sent:
            connection.sendall(piece)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def a_head(target: str, *lines: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: shop.test", *lines, "", ""]).encode("latin-1")


# What passes.


@pytest.mark.parametrize(
    "target",
    [
        "/acme/api/v1/targets/klaviyo/metric",
        "/a%2Fb/%C3%A9t%C3%A9/%2e%2e/x",
        "/..%2f",
        "/../../etc",
        "//x",
        "//x//y/",
        "/x;a=1,2'()*!$&",
        "/x?metric=Reward%20created&metric=%C3%A9&&empty=&a=b=c?d/e",
        "/x?",
        "/?%",
    ],
)
def test_path_and_query_pass_as_they_were_written(gateway: Gateway, function: AFunction, target: str) -> None:
    answer = spoken(gateway, a_head(target, "Connection: close", "Content-Length: 0"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert [received.target for received in function.received] == [target]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("body", [b"", b'{"a": 1}', bytes(range(256)) * 300])
def test_method_and_body_pass_byte_for_byte_both_ways(
    gateway: Gateway, function: AFunction, method: str, body: bytes
) -> None:
    function.reply = lambda received: Reply(status=207, body=received.body[::-1])
    answer = requests.request(method, gateway.url + "/x", data=body, timeout=60)
    assert [(received.method, received.body) for received in function.received] == [(method, body)]
    assert (answer.status_code, answer.content) == (207, body[::-1])


def test_a_body_of_25_mb_passes(gateway: Gateway, function: AFunction) -> None:
    body = bytes(range(250)) * 100_000
    function.reply = lambda received: Reply(body=received.body)
    assert requests.post(gateway.url + "/x", data=body, timeout=60).content == body


def test_a_chunked_body_arrives_whole_and_still_chunked(gateway: Gateway, function: AFunction) -> None:
    answer = requests.post(gateway.url + "/x", data=iter([b"one,", b"two,", b"z" * 200_000]), timeout=60)
    assert answer.status_code == 200
    (received,) = function.received
    assert received.body == b"one,two," + b"z" * 200_000
    assert received.values("Transfer-Encoding") == ["chunked"]
    assert received.values("Content-Length") == []


def test_a_body_is_passed_on_while_it_arrives(gateways: Callable[..., Gateway]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        gateway = gateways(listening.getsockname()[1])
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as client:
            client.sendall(a_head("/x", "Content-Length: 10") + b"half ")
            function, _address = listening.accept()
            with function:
                function.settimeout(10)
                arrived = b""
                while not arrived.endswith(b"\r\n\r\nhalf "):
                    arrived += function.recv(65536)
                client.sendall(b"whole")
                assert function.recv(65536) == b"whole"
                function.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
                assert client.recv(65536).startswith(b"HTTP/1.1 202 ")


def test_an_answer_that_comes_before_the_body_has_ended_is_passed_on(
    gateways: Callable[..., Gateway],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        gateway = gateways(listening.getsockname()[1])
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as client:
            client.sendall(a_head("/x", "Content-Length: 10") + b"half ")
            function, _address = listening.accept()
            with function:
                function.settimeout(10)
                function.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
                assert client.recv(65536).startswith(b"HTTP/1.1 503 ")
            client.shutdown(socket.SHUT_WR)
            assert client.recv(65536) == b""


def test_a_thousand_open_connections_break_no_body_that_is_on_its_way(
    gateways: Callable[..., Gateway],
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        gateway = gateways(listening.getsockname()[1])
        for _ in range(1100):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        client = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=60))
        client.sendall(a_head("/x", "Content-Length: 10") + b"half ")
        function = stack.enter_context(listening.accept()[0])
        function.settimeout(10)
        arrived = b""
        while not arrived.endswith(b"half "):
            piece = function.recv(65536)
            assert piece
            arrived += piece
        client.sendall(b"whole")
        assert function.recv(65536) == b"whole"


@pytest.mark.parametrize("end", [b"", b"zz\r\n"], ids=["leaves", "sends no HTTP"])
def test_a_client_that_breaks_off_in_its_body_leaves_the_function_free(
    gateways: Callable[..., Gateway], end: bytes
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        gateway = gateways(listening.getsockname()[1])
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as client:
            client.sendall(a_head("/x", "Transfer-Encoding: chunked") + b"5\r\nhalf \r\n" + end)
            client.shutdown(socket.SHUT_WR)
            function, _address = listening.accept()
            with function:
                function.settimeout(10)
                assert b"".join(iter(lambda: function.recv(65536), b"")).endswith(b"half \r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_a_chunked_answer_passes(gateway: Gateway, function: AFunction) -> None:
    chunked = [("Transfer-Encoding", "chunked")]
    function.reply = lambda _received: Reply(headers=chunked, body=b"3\r\none\r\n4\r\n,two\r\n0\r\n\r\n")
    with requests.Session() as session:
        answers = [session.get(gateway.url + "/x", timeout=60).content for _ in range(2)]
    assert answers == [b"one,two"] * 2


def test_headers_pass_in_order_spelling_and_number(gateway: Gateway, function: AFunction) -> None:
    function.reply = lambda _received: Reply(
        headers=[("Set-Cookie", "a=1; Path=/"), ("X-Mixed-CASE", "yes"), ("Set-Cookie", "b=2")]
    )
    lines = ["x-list: 1", "X-List: 2", "Klaviyo-Signature: abc=", "x-omneo-secret: caf\xe9"]
    answer = spoken(gateway, a_head("/x", *lines, "Connection: close", "Content-Length: 0"))
    (received,) = function.received
    assert [f"{name}: {value}" for name, value in received.headers][:5] == ["Host: shop.test", *lines]
    kept = [line for line in answer.split(b"\r\n") if line.startswith((b"Set-Cookie", b"X-Mixed"))]
    assert kept == [b"Set-Cookie: a=1; Path=/", b"X-Mixed-CASE: yes", b"Set-Cookie: b=2"]


def test_what_concerns_one_connection_only_stays_there(gateway: Gateway, function: AFunction) -> None:
    function.reply = lambda _received: Reply(
        headers=[("Keep-Alive", "timeout=2"), ("Connection", "Keep-Alive")]
    )
    answer = requests.get(
        gateway.url + "/x",
        headers={
            "Connection": "close, X-Mine",
            "X-Mine": "1",
            "TE": "trailers",
            "Upgrade": "h2c",
            "X-Kept": "2",
        },
        timeout=60,
    )
    (received,) = function.received
    assert {name.lower() for name, _value in received.headers}.isdisjoint(
        {"connection", "x-mine", "te", "upgrade", "keep-alive"}
    )
    assert received.values("X-Kept") == ["2"]
    assert "Keep-Alive" not in answer.headers


def test_a_function_learns_who_called_and_how(gateway: Gateway, function: AFunction) -> None:
    told = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "gopher", "Host": "shop.test"}
    requests.get(gateway.url + "/x", headers=told, timeout=60)
    requests.get(gateway.url + "/x", timeout=60)
    first, second = function.received
    assert first.values("X-Forwarded-For") == ["203.0.113.9, 127.0.0.1"]
    assert first.values("X-Forwarded-Proto") == ["http"]
    assert first.values("Host") == ["shop.test"]
    assert second.values("X-Forwarded-For") == ["127.0.0.1"]
    assert second.values("Host") == [f"127.0.0.1:{gateway.port}"]


def test_a_head_call_gets_the_head_alone(gateway: Gateway, function: AFunction) -> None:
    function.reply = lambda _received: Reply(body=b"x" * 1000)
    with requests.Session() as session:
        heads = [session.head(gateway.url + "/x", timeout=60) for _ in range(2)]
        after = session.get(gateway.url + "/x", timeout=60)
    assert [(head.headers["Content-Length"], head.content) for head in heads] == [("1000", b"")] * 2
    assert after.content == b"x" * 1000


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_leaves_the_connection_usable(
    gateway: Gateway, function: AFunction, status: int
) -> None:
    function.reply = lambda _received: Reply(status=status, body=b"")
    with requests.Session() as session:
        assert [session.get(gateway.url + "/x", timeout=60).status_code for _ in range(2)] == [status] * 2


def test_a_client_of_http_1_0_is_served(gateway: Gateway, function: AFunction) -> None:
    answer = spoken(gateway, b"POST /x HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")
    assert answer.endswith(b"\r\n\r\ndone")
    assert function.received[0].body == b"hi"


def test_a_client_that_asks_first_is_told_to_go_on(gateway: Gateway, function: AFunction) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as connection:
        connection.sendall(a_head("/x", "Expect: 100-continue", "Content-Length: 2"))
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"hi")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    (received,) = function.received
    assert (received.body, received.values("Expect")) == (b"hi", [])


def test_an_answer_is_passed_on_while_it_arrives(gateways: Callable[..., Gateway]) -> None:
    go_on = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            connection, _address = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nfirst")
                go_on.wait(60)
                connection.sendall(b"end")

        threading.Thread(target=speak, daemon=True).start()
        gateway = gateways(listener.getsockname()[1])
        with requests.get(gateway.url + "/x", stream=True, timeout=60) as answer:
            assert answer.raw.read(5) == b"first"
            go_on.set()
            assert answer.raw.read() == b"end"


# Connections.


def test_one_connection_carries_many_calls_on_both_sides(gateway: Gateway, function: AFunction) -> None:
    with requests.Session() as session:
        for number in range(20):
            assert session.post(f"{gateway.url}/{number}", data=b"x", timeout=60).status_code == 200
    assert [received.target for received in function.received] == [f"/{number}" for number in range(20)]
    assert {received.connection for received in function.received} == {1}


def test_a_connection_that_was_idle_too_long_is_not_used_again(
    function: AFunction, gateways: Callable[..., Gateway]
) -> None:
    gateway = gateways(function.server_port, fresh=0)
    for _ in range(3):
        assert requests.get(gateway.url + "/x", timeout=60).status_code == 200
    assert [received.connection for received in function.received] == [1, 2, 3]


def test_calls_sent_without_waiting_are_answered_in_order(gateway: Gateway, function: AFunction) -> None:
    function.reply = lambda received: Reply(body=received.target.encode())
    last = a_head("/2", "Connection: close", method="GET")
    answer = spoken(gateway, a_head("/1", method="GET") + last)
    assert answer.index(b"\r\n\r\n/1") < answer.index(b"\r\n\r\n/2")


def test_parallel_calls_get_their_own_answers(gateway: Gateway, function: AFunction) -> None:
    function.reply = lambda received: Reply(body=received.target.encode() + received.body)

    def converse(client: int) -> list[bytes]:
        with requests.Session() as session:
            return [
                session.post(f"{gateway.url}/{client}/{n}", data=b"!" * n, timeout=60).content
                for n in range(20)
            ]

    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(converse, range(16)))
    assert answers == [[f"/{c}/{n}".encode() + b"!" * n for n in range(20)] for c in range(16)]


def test_a_function_that_hangs_up_after_its_answer_costs_no_call(
    gateway: Gateway, function: AFunction
) -> None:
    function.reply = lambda _received: Reply(hang_up=True)
    with requests.Session() as session:
        statuses = {session.post(gateway.url + "/x", data=b"hi", timeout=60).status_code for _ in range(50)}
    assert statuses == {200}
    assert len(function.received) == 50


def test_a_connection_that_turns_out_dead_is_replaced_once(gateway: Gateway, function: AFunction) -> None:
    def reply(received: Received) -> Reply | None:
        calls = [known.connection for known in function.received].count(received.connection)
        return Reply() if calls == 1 else None

    function.reply = reply
    with requests.Session() as session:
        statuses = [session.post(gateway.url + "/x", data=b"hi", timeout=60).status_code for _ in range(2)]
    assert statuses == [200, 200]
    assert [(received.body, received.connection) for received in function.received] == [
        (b"hi", 1),
        (b"hi", 1),
        (b"hi", 2),
    ]


# What the gateway answers itself.


def refusal(answer: requests.Response) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/json"
    error = answer.json()["error"]
    assert error["message"]
    return answer.status_code, error["code"]


@pytest.mark.parametrize(
    "path", ["/tasks/outbound", "/tasks/inbound", "/tasks/", "/", "/acme", "//api/v1/targets/klaviyo/metric"]
)
def test_what_has_no_public_path_is_404(path: str) -> None:
    upstreams = {name: Upstream(1, 1) for name in load_functions()}
    gateway = Gateway(load_routes(), upstreams, port=0)
    gateway.start()
    try:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as connection:
            connection.sendall(a_head(path, "Content-Length: 2") + b"hi")
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.status == 404
            assert json.loads(answer.read())["error"]["code"] == "not_found"
    finally:
        gateway.stop()


def test_a_refusal_leaves_the_connection_usable(
    function: AFunction, gateways: Callable[..., Gateway]
) -> None:
    gateway = gateways(function.server_port, path="/{tenant=*}/x")
    with requests.Session() as session:
        assert refusal(session.post(gateway.url + "/y", data=b"hi", timeout=60)) == (404, "not_found")
        assert session.head(gateway.url + "/y", timeout=60).content == b""
        assert session.post(gateway.url + "/acme/x", data=b"hi", timeout=60).status_code == 200


def test_a_function_that_is_down_is_503_until_it_is_up(gateways: Callable[..., Gateway]) -> None:
    port = free_port()
    gateway = gateways(port)
    answer = requests.post(gateway.url + "/x", data=b"hi", timeout=60)
    assert refusal(answer) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    with AFunction(port):
        assert requests.post(gateway.url + "/x", data=b"hi", timeout=60).status_code == 200


def test_a_function_that_dies_over_a_first_call_is_503_and_not_called_again(
    gateway: Gateway, function: AFunction
) -> None:
    function.reply = lambda _received: None
    answer = requests.post(gateway.url + "/x", data=b"hi", timeout=60)
    assert refusal(answer) == (503, "unavailable")
    assert len(function.received) == 1


def test_an_answer_that_breaks_off_breaks_off_for_the_client_too(
    gateway: Gateway, function: AFunction
) -> None:
    function.reply = lambda _received: Reply(
        headers=[("Transfer-Encoding", "chunked"), ("Connection", "close")], body=b"5\r\nfirst\r\n5\r\nse"
    )
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(gateway.url + "/x", timeout=60)


def test_a_function_that_stays_silent_too_long_is_504(
    function: AFunction, gateways: Callable[..., Gateway]
) -> None:
    over = threading.Event()
    function.reply = lambda _received: Reply() if over.wait(60) else None
    gateway = gateways(function.server_port, timeout=0.2)
    try:
        assert refusal(requests.post(gateway.url + "/x", data=b"hi", timeout=60)) == (504, "timeout")
    finally:
        over.set()


def test_a_body_over_the_limit_is_413_before_any_of_it_is_read(gateway: Gateway, function: AFunction) -> None:
    answer = spoken(gateway, a_head("/x", "Expect: 100-continue", f"Content-Length: {BODY_LIMIT + 1}"))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert function.received == []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_too_much_still_reads_the_refusal(
    gateway: Gateway, function: AFunction, chunked: bool
) -> None:
    pieces = [b"x" * (1 << 20)] * 33
    body = iter(pieces) if chunked else b"".join(pieces)
    answer = requests.post(gateway.url + "/x", data=body, timeout=60)
    assert refusal(answer) == (413, "payload_too_large")
    assert function.received == []


def test_a_body_at_the_limit_passes(gateway: Gateway, function: AFunction) -> None:
    function.reply = lambda received: Reply(body=str(len(received.body)).encode())
    answer = requests.post(gateway.url + "/x", data=b"x" * BODY_LIMIT, timeout=60)
    assert answer.content == str(BODY_LIMIT).encode()


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        a_head("/x", "Content-Length: 1", "Content-Length: 2"),
        a_head("/x", "Content-Length: -1"),
        a_head("/caf\xe9"),
        a_head("/x", "Broken Name: 1"),
        a_head("/x", "X-Long: " + "x" * 300_000),
        b"POST /x HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=[
        "words",
        "two lengths",
        "negative",
        "raw bytes in the path",
        "header name",
        "header size",
        "no host",
    ],
)
def test_what_is_not_http_is_refused_and_reaches_no_function(
    gateway: Gateway, function: AFunction, sent: bytes
) -> None:
    answer = spoken(gateway, sent)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
    assert b'"malformed_request"' in answer
    assert function.received == []


# Its port.


# What a watcher is told, and who else may serve.


def test_a_watcher_is_told_of_each_call_once_it_is_answered(
    gateways: Callable[..., Gateway], function: AFunction
) -> None:
    seen: SimpleQueue[Exchange] = SimpleQueue()
    gateway = gateways(function.server_port, watch=seen.put)
    function.reply = lambda _received: Reply(status=202, headers=[("X-Job", "1")], body=b'{"id": 1}')
    requests.post(f"{gateway.url}/x?y=1", data=b"sent", headers={"X-Sent": "2"}, timeout=60)
    requests.post(f"{gateway.url}/many", data=b"a" * (SHOWN + 1), timeout=60)
    first, second = seen.get(timeout=60), seen.get(timeout=60)
    assert (first.method, first.target, first.body) == ("POST", "/x?y=1", b"sent")
    assert (first.status, bytes(first.answer_body)) == (202, b'{"id": 1}')
    assert ("X-Sent", "2") in first.headers
    assert ("X-Job", "1") in first.answer_headers
    assert 0 <= first.answered_at - first.began_at < 10
    assert len(second.body) == SHOWN


def test_who_has_an_answer_has_been_seen_by_the_watcher(
    gateways: Callable[..., Gateway], function: AFunction
) -> None:
    seen: SimpleQueue[Exchange] = SimpleQueue()

    def slowly(exchange: Exchange) -> None:
        time.sleep(0.1)
        seen.put(exchange)

    gateway = gateways(function.server_port, watch=slowly)
    assert requests.get(f"{gateway.url}/x", timeout=60).status_code == 200
    assert seen.get_nowait().status == 200


def test_a_call_of_no_function_changes_nothing_of_what_the_call_before_it_was_answered(
    gateways: Callable[..., Gateway], function: AFunction
) -> None:
    seen: SimpleQueue[Exchange] = SimpleQueue()
    gateway = gateways(function.server_port, path="/known", watch=seen.put)
    with requests.Session() as connection:
        assert connection.get(f"{gateway.url}/known", timeout=60).status_code == 200
        assert connection.get(f"{gateway.url}/unknown", timeout=60).status_code == 404
    assert seen.get_nowait().status == 200


def test_a_watched_call_has_a_trace_its_callers_own_if_it_brought_one(
    gateways: Callable[..., Gateway], function: AFunction
) -> None:
    seen: SimpleQueue[Exchange] = SimpleQueue()
    gateway = gateways(function.server_port, watch=seen.put)
    own = f"00-{'a' * 32}-{'b' * 16}-01"
    requests.get(gateway.url, headers={"TraceParent": own}, timeout=60)
    requests.get(gateway.url, timeout=60)
    begun = [
        {name.lower(): value for name, value in exchange.headers}["traceparent"]
        for exchange in (seen.get(timeout=60), seen.get(timeout=60))
    ]
    assert begun[0] == own
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", begun[1])
    assert [received.values("traceparent") for received in function.received] == [[begun[0]], [begun[1]]]


def test_without_a_watcher_no_trace_is_begun(gateway: Gateway, function: AFunction) -> None:
    requests.get(gateway.url, timeout=60)
    assert function.received[0].values("traceparent") == []


def test_a_watcher_is_told_of_a_call_that_no_function_answered(gateways: Callable[..., Gateway]) -> None:
    seen: SimpleQueue[Exchange] = SimpleQueue()
    gateway = gateways(free_port(), watch=seen.put)
    requests.get(gateway.url, timeout=60)
    exchange = seen.get(timeout=60)
    assert (exchange.status, b"not up" in exchange.answer_body) == (503, True)


def test_one_more_server_gets_what_no_route_takes_and_nobody_watches_it(
    gateways: Callable[..., Gateway], function: AFunction
) -> None:
    seen: SimpleQueue[Exchange] = SimpleQueue()
    gateway = gateways(function.server_port, path="/{tenant=*}/api/**", watch=seen.put)
    with AFunction() as beside:
        beside.reply = lambda _received: Reply(body=b"beside")
        gateway.also_serve(("/", "/console/**"), Upstream(beside.server_port, 10))
        told = {
            path: requests.get(gateway.url + path, timeout=60).text
            for path in ("/", "/?a=1", "/console/live", "/console/api/v1", "/other", "/consoles/x")
        }
    assert [path for path, text in told.items() if text == "beside"] == ["/", "/?a=1", "/console/live"]
    assert told["/console/api/v1"] == "done"  # a tenant may have this name
    assert "no such path" in told["/other"]
    assert seen.get(timeout=60).target == "/console/api/v1"
    assert seen.empty()
    assert beside.received[0].values("traceparent") == []


def test_it_listens_on_loopback_unless_told_otherwise(gateway: Gateway) -> None:
    assert gateway.url == f"http://127.0.0.1:{gateway.port}"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", gateway.port), timeout=60)


def test_a_taken_port_is_reported_with_the_way_out(gateway: Gateway) -> None:
    with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{gateway.port}: .*; name another PORT"):
        Gateway([], {}, port=gateway.port)


def test_stopping_hangs_up_on_clients_that_wait(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as connection:
        connection.sendall(a_head("/x", method="GET"))
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        gateway.stop()
        assert connection.recv(1) == b""


# Path templates.


def matches_segment_by_segment(template: list[str], path: list[str]) -> bool:
    """Say what `path_matcher` says, the long way."""
    if not template:
        return not path
    if template[0] in {"**", "{n=**}"}:
        return bool(path)
    if not path:
        return False
    wild = template[0] in {"*", "{n=*}", "{n}"}
    return (path[0] != "" if wild else path[0] == template[0]) and matches_segment_by_segment(
        template[1:], path[1:]
    )


LITERALS = st.sampled_from(["a", "b", "a.c", "abc", "tasks", "", "%2F", "a+b", "(a)", "\n"])
ONE_SEGMENT = st.sampled_from(["*", "{n=*}", "{n}"])


@st.composite
def templates(draw: st.DrawFn) -> list[str]:
    segments = draw(st.lists(LITERALS | ONE_SEGMENT, max_size=4))
    return segments + draw(st.sampled_from([[], ["**"], ["{n=**}"]]))


@given(templates(), st.data())
def test_a_template_matches_what_reading_it_segment_by_segment_says(
    template: list[str], data: st.DataObject
) -> None:
    # Paths that follow the template, and paths that are near it.
    near = [
        LITERALS if "*" in segment or "{" in segment else st.just(segment) | LITERALS for segment in template
    ]
    path = list(data.draw(st.tuples(*near))) + data.draw(st.lists(LITERALS, max_size=2))
    path = path[: data.draw(st.integers(0, len(path)))] if data.draw(st.booleans()) else path
    matches = path_matcher("/" + "/".join(template))
    expected = matches_segment_by_segment(template or [""], path or [""])
    assert matches("/" + "/".join(path)) == expected


@pytest.mark.parametrize(
    "template",
    [
        "x",
        "",
        "/**/x",
        "/a*",
        "/{a=*}b",
        "/{=*}",
        "/{a=b/*}",
        "/{a=***}",
        "/***",
        "/*/*/*/*/*/*",
        "/{a",
        "/**/**",
    ],
)
def test_a_template_that_a_url_map_would_refuse_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"template|wildcard"):
        path_matcher(template)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/acme/api/v1/targets/klaviyo/metric", True),
        ("/acme/api/v1/targets/klaviyo/a/b%2Fc", True),
        ("/acme/api/v1/targets/klaviyo/", True),
        ("/acme/api/v1/targets/klaviyo", False),
        ("/acme/api/v1/targets/Klaviyo/metric", False),
        ("/acme%2Fapi/v1/targets/klaviyo/metric", False),
        ("/a/b/api/v1/targets/klaviyo/metric", False),
        ("/tasks/outbound", False),
    ],
)
def test_the_targets_path(path: str, expected: bool) -> None:
    assert path_matcher("/{tenant=*}/api/v1/targets/klaviyo/**")(path) is expected
