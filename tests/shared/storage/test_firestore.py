"""What Firestore adds to the contract of the document store: time limits, repeats and refusals."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from google.cloud.firestore_v1.types import CommitResponse, WriteResult

from shared.errors import StoreUnavailableError
from shared.http.deadlines import lasting
from shared.storage.documents import Documents, Write
from shared.storage.firestore import FirestoreDocuments, firestore_client


def test_a_firestore_that_is_not_there_ends_in_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound and not listening: nothing else can answer on this port
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{taken.getsockname()[1]}")
        store = FirestoreDocuments(firestore_client("test-nobody"), timeout=0.5)
        for call in all_calls(store):
            started = time.monotonic()
            with pytest.raises(StoreUnavailableError):
                call()
            assert time.monotonic() - started < 30


def test_what_is_around_a_call_bounds_its_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{silent.getsockname()[1]}")
        store = FirestoreDocuments(firestore_client("test-nobody"), timeout=60)
        started = time.monotonic()
        with lasting(lambda: started + 0.4 - time.monotonic()):
            for call in all_calls(store):  # the last ones do not even begin
                with pytest.raises(StoreUnavailableError):
                    call()
        assert time.monotonic() - started < 30


def test_a_firestore_that_never_answers_ends_in_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{silent.getsockname()[1]}")
        store = FirestoreDocuments(firestore_client("test-nobody"), timeout=0.3)
        for call in all_calls(store):
            started = time.monotonic()
            with pytest.raises(StoreUnavailableError):
                call()
            assert time.monotonic() - started < 30


def test_a_read_is_repeated_when_firestore_is_briefly_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    with failing_firestore(grpc.StatusCode.UNAVAILABLE, times=2) as (host, calls):
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", host)
        store = FirestoreDocuments(firestore_client("test-failing"))
        assert store.find("a") == []
        assert calls == ["RunQuery"] * 3


def test_a_write_is_repeated_when_it_was_surely_not_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    with failing_firestore(grpc.StatusCode.ABORTED, times=2) as (host, calls):
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", host)
        FirestoreDocuments(firestore_client("test-failing")).create("a", "b", {})
        assert calls == ["Commit"] * 3
        FirestoreDocuments(firestore_client("test-failing")).write_all([Write("a", "b", {})])
        assert calls == ["Commit"] * 4


def test_a_write_that_may_have_been_applied_is_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    with failing_firestore(grpc.StatusCode.UNAVAILABLE, times=9) as (host, calls):
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", host)
        store = FirestoreDocuments(firestore_client("test-failing"))
        for write in all_calls(store)[1:5]:
            with pytest.raises(StoreUnavailableError):
                write()
        assert calls == ["Commit"] * 4


def test_a_firestore_that_refuses_every_call_is_an_error_of_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with failing_firestore(grpc.StatusCode.PERMISSION_DENIED, times=9) as (host, calls):
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", host)
        store = FirestoreDocuments(firestore_client("test-failing"))
        for call in all_calls(store):
            with pytest.raises(StoreUnavailableError):
                call()
        assert len(calls) == 6


class FailingFirestore(grpc.GenericRpcHandler):
    """Fails the first calls with one status and answers the others with nothing found, or written."""

    def __init__(self, status: grpc.StatusCode, times: int) -> None:
        self.calls: list[str] = []
        self._status = status
        self._times = times

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        method = details.method.rsplit("/", 1)[-1]

        def answer(_: bytes, context: grpc.ServicerContext) -> bytes:
            self.calls.append(method)
            if len(self.calls) <= self._times:
                context.abort(self._status, "made to fail")
            return bytes(CommitResponse.serialize(CommitResponse(write_results=[WriteResult()])))

        def stream(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            answer(request, context)
            yield from ()

        if method == "Commit":
            return grpc.unary_unary_rpc_method_handler(answer)
        return grpc.unary_stream_rpc_method_handler(stream)


@contextmanager
def failing_firestore(status: grpc.StatusCode, times: int) -> Iterator[tuple[str, list[str]]]:
    """Serve a FailingFirestore; give its address and the names of the methods called so far."""
    failing = FailingFirestore(status, times)
    server = grpc.server(ThreadPoolExecutor(2), handlers=[failing])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", failing.calls
    server.stop(grace=1).wait(timeout=60)


def all_calls(store: Documents) -> list[Callable[[], object]]:
    return [
        lambda: store.get("a", "b"),
        lambda: store.create("a", "b", {}),
        lambda: store.update("a", "b", {"x": 1}),
        lambda: store.delete("a", "b"),
        lambda: store.write_all([Write("a", "b")]),
        lambda: store.find("a"),
    ]
