"""The logs of all functions are one stream, of one tenant or one job if asked."""

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from deploy.local.logs import Follower, Line, Wanted, as_json, as_text, follow, newest_folder


def write(folder: Path, name: str, *lines: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.log").open("a") as log:
        log.writelines(f"{line}\n" for line in lines)


def said(at: str, **fields: object) -> str:
    return f"2026-11-21T10:00:{at}Z {json.dumps({'severity': 'INFO', 'message': 'job done', **fields})}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(
        tmp_path, "targets", said("01.000", tenant="acme", job="j1"), said("03.000", tenant="other", job="j3")
    )
    write(
        tmp_path,
        "outbound_worker",
        said("02.000", tenant="acme", job="j2"),
        "2026-11-21T10:00:04.000Z Traceback",
    )
    return tmp_path


def shown(lines: Iterator[Line], count: int) -> list[str]:
    return [line.at[17:19] for line in islice(lines, count)]


def test_lines_of_all_functions_come_in_the_order_of_time(folder: Path) -> None:
    assert shown(follow(folder, Wanted()), 4) == ["01", "02", "03", "04"]


@pytest.mark.parametrize(
    ("wanted", "times"),
    [
        (Wanted(tenant="acme"), ["01", "02"]),
        (Wanted(job="j3"), ["03"]),
        (Wanted(job="j"), ["01", "02", "03"]),
        (Wanted(tenant="other", job="j1"), []),
    ],
)
def test_only_lines_of_a_tenant_and_a_job_are_shown(folder: Path, wanted: Wanted, times: list[str]) -> None:
    lines = Follower(folder).new_lines()
    assert [line.at[17:19] for line in lines if wanted.matches(line)] == times


def test_new_lines_are_shown_once_when_they_are_complete(folder: Path) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            with (folder / "targets.log").open("a") as log:
                log.write("2026-11-21T10:00:05.000Z half")
        if len(slept) == 2:
            write(folder, "targets", " and half")

    lines = follow(folder, Wanted(), sleep)
    *_, last = islice(lines, 5)
    assert last == Line("2026-11-21T10:00:05.000Z", "targets", "half and half")
    assert len(slept) == 2


def test_a_log_that_was_put_aside_is_read_anew(folder: Path) -> None:
    follower = Follower(folder)
    follower.new_lines()
    (folder / "targets.log").unlink()
    write(folder, "targets", said("06.000", tenant="acme"))
    assert [line.at[17:19] for line in follower.new_lines()] == ["06"]


def test_at_first_no_more_than_the_end_of_a_log_is_read(folder: Path) -> None:
    follower = Follower(folder, most=120)
    assert [line.at[17:19] for line in follower.new_lines()] == ["03", "04"]  # none that is cut
    write(folder, "targets", said("06.000", tenant="acme"))
    assert len(follower.new_lines()) == 1


def test_a_line_is_shown_as_text_or_as_json() -> None:
    line = Line(
        "2026-11-21T10:00:01.000Z", "targets", said("x", tenant="acme", reason="not now").split(" ", 1)[1]
    )
    assert as_text(line) == '10:00:01.000 targets          INFO     job done  tenant=acme reason="not now"'
    told = json.loads(as_json(line))
    assert (told["time"], told["function"], told["tenant"]) == (line.at, "targets", "acme")
    trace = Line(line.at, "targets", "Traceback")
    assert as_text(trace) == "10:00:01.000 targets          Traceback"
    assert json.loads(as_json(trace)) == {"time": line.at, "function": "targets", "message": "Traceback"}


def test_the_logs_are_those_that_were_written_last(tmp_path: Path) -> None:
    assert newest_folder(tmp_path, 8080) is None
    write(tmp_path / "demo-8080/logs", "targets", "x")
    assert newest_folder(tmp_path, 8080) == tmp_path / "demo-8080/logs"
    assert newest_folder(tmp_path, 8180) is None
    write(tmp_path / "logs", "targets", "x")
    newer = (tmp_path / "demo-8080/logs/targets.log").stat().st_mtime_ns + 10**9
    os.utime(tmp_path / "logs/targets.log", ns=(newer, newer))
    assert newest_folder(tmp_path, 8080) == tmp_path / "logs"
