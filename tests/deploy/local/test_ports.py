"""Ports follow one another, and one that is taken is named."""

import socket

import pytest

from deploy.local.free_ports import free_port
from deploy.local.ports import CLOUD_TASKS, GATEWAY, QUEUE, check_free, is_free, planned, queue_port
from deploy.local.processes import StartError
from deploy.staging import load_functions


def test_ports_follow_one_another_workers_before_public_functions() -> None:
    functions = load_functions()
    ports = planned(8080, functions)
    assert list(ports.values()) == list(range(8080, 8080 + len(ports)))
    assert ports[GATEWAY] == 8080
    last_worker = max(ports[name] for name, function in functions.items() if not function.public)
    assert last_worker < min(ports[name] for name, function in functions.items() if function.public)


def test_a_first_port_without_room_behind_it_is_refused() -> None:
    functions = load_functions()
    highest = 65536 - len(planned(8080, functions))
    assert max(planned(highest, functions).values()) == 65535
    with pytest.raises(StartError, match=f"PORT must be {highest} or less"):
        planned(highest + 1, functions)


def test_a_port_that_somebody_listens_on_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError) as raised:
            check_free({GATEWAY: free_port(), QUEUE: port})
    message = str(raised.value)
    assert message.startswith(f"Port {port}, for the queue, is taken.\n")
    assert f"lsof -nP -iTCP:{port}" in message
    assert "make run PORT=" in message


def test_a_port_that_is_bound_on_every_address_is_taken() -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:  # noqa: S104 - that is what is tested
        assert not is_free(taken.getsockname()[1])


def test_the_queue_listens_where_it_is_told_to() -> None:
    port = free_port()
    assert queue_port(f"127.0.0.1:{port}", 8083) == port
    assert queue_port(None, 8083) == 8083
    assert queue_port("127.0.0.1:0", 8083) not in (0, 8083)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(StartError, match=CLOUD_TASKS):
        queue_port(f"127.0.0.1:{port}", 8083)
