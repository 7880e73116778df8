"""Ports are given out once, to one process."""

import socket
import subprocess
import sys
from contextlib import ExitStack

import pytest

from deploy.local import free_ports as module
from deploy.local.free_ports import Ports, free_ports
from deploy.local.processes import StartError
from deploy.staging import REPOSITORY

TAKES = "from deploy.local.free_ports import free_ports; print(*free_ports(250), flush=True); input()"


def test_free_ports_are_different_and_can_be_bound() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    with ExitStack() as stack:
        for port in ports:
            stack.enter_context(socket.create_server(("127.0.0.1", port)))


def test_a_port_that_somebody_listens_on_is_not_given_out() -> None:
    ports = Ports()
    (last,) = ports.take(1)
    with socket.create_server(("127.0.0.1", last + 1)):
        assert ports.take(1) == [last + 2]


def test_processes_that_live_at_the_same_time_are_given_different_ports() -> None:
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", TAKES], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(3)
        ]  # fmt: skip
        given = [free_ports(250), *(_first_line(process) for process in processes)]
        assert len({port for ports in given for port in ports}) == 4 * 250
        for process in processes:
            process.communicate("\n")


def test_when_all_are_claimed_whoever_asks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    (claimed,) = free_ports(1)
    first = claimed - claimed % module._BLOCK
    monkeypatch.setattr(module, "_FIRST", first)
    monkeypatch.setattr(module, "_END", first + module._BLOCK)
    with pytest.raises(StartError, match="is claimed by another process"):
        Ports().take(1)


def _first_line(process: "subprocess.Popen[str]") -> list[int]:
    assert process.stdout is not None
    return [int(word) for word in process.stdout.readline().split()]
