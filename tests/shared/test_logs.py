"""Log lines: exactly what Cloud Logging reads, and nothing that was not named beforehand."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import logs

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _configured(capsys: Output) -> Iterator[None]:
    logger = logging.getLogger("extension")
    before = logger.handlers[:], logger.level, logger.propagate
    logs.configure("proj")
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def written(capsys: Output) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.err == ""
    return [json.loads(line) for line in captured.out.splitlines()]


class TestALine:
    def test_it_is_one_json_object_in_the_form_of_cloud_logging(self, capsys: Output) -> None:
        with logs.context(function="targets", traceparent=TRACEPARENT):
            logs.write(logging.WARNING, "job waits", tenant="acme", delay=1.5, attempts=0)
        assert capsys.readouterr().out == (
            '{"severity": "WARNING", "message": "job waits", "function": "targets", "tenant": "acme",'
            ' "delay": 1.5, "attempts": 0,'
            f' "logging.googleapis.com/trace": "projects/proj/traces/{TRACE}",'
            f' "logging.googleapis.com/spanId": "{SPAN}"}}\n'
        )

    def test_outside_of_any_context_it_is_only_what_is_said(self, capsys: Output) -> None:
        logs.write(logging.INFO, "hello")
        assert capsys.readouterr().out == '{"severity": "INFO", "message": "hello"}\n'

    @pytest.mark.parametrize("severity", ["INFO", "WARNING", "ERROR", "CRITICAL"])
    def test_its_severity_is_one_that_cloud_logging_knows(self, severity: str, capsys: Output) -> None:
        logs.write(getattr(logging, severity), "x")
        assert written(capsys)[0]["severity"] == severity

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
    @given(message=st.text(st.characters()), reason=st.text(st.characters()))
    def test_any_text_makes_one_line_and_comes_back(self, message: str, reason: str, capsys: Output) -> None:
        logs.write(logging.INFO, message, reason=reason)
        assert written(capsys) == [{"severity": "INFO", "message": message, "reason": reason}]

    def test_half_a_surrogate_pair_can_be_written(self, capsys: Output) -> None:
        logs.write(logging.INFO, "half \ud800", reason="\udfff")
        assert written(capsys) == [{"severity": "INFO", "message": "half \ud800", "reason": "\udfff"}]

    def test_percent_signs_are_text(self, capsys: Output) -> None:
        logs.write(logging.INFO, "100% %s %(tenant)s")
        assert written(capsys)[0]["message"] == "100% %s %(tenant)s"

    def test_configuring_again_does_not_write_lines_twice(self, capsys: Output) -> None:
        logs.configure("other")
        with logs.context(traceparent=TRACEPARENT):
            logs.write(logging.INFO, "once")
        (line,) = written(capsys)
        assert line["logging.googleapis.com/trace"] == f"projects/other/traces/{TRACE}"

    @pytest.mark.parametrize(
        "traceparent",
        ["", "canary", f"01-{TRACE}-{SPAN}-01", f"00-{TRACE.upper()}-{SPAN}-01", f"{TRACEPARENT}-x"],
    )
    def test_a_malformed_trace_is_left_out(self, traceparent: str, capsys: Output) -> None:
        with logs.context(traceparent=traceparent):
            logs.write(logging.INFO, "x")
        assert written(capsys) == [{"severity": "INFO", "message": "x"}]


class TestWhatCannotBeLogged:
    @pytest.mark.parametrize("name", ["email", "body", "token", "traceparent", "exc_info", "Tenant", ""])
    def test_a_field_that_is_not_named_is_a_bug(self, name: str, capsys: Output) -> None:
        with pytest.raises(ValueError, match="not a log field") as refused:
            logs.write(logging.INFO, "x", **{name: "canary"})
        assert "canary" not in str(refused.value)
        assert written(capsys) == []

    def test_neither_can_it_come_in_by_the_context(self, capsys: Output) -> None:
        with logs.context(email="canary"), pytest.raises(ValueError, match="not a log field: email"):
            logs.write(logging.INFO, "x")
        assert written(capsys) == []

    def test_nor_by_a_note_or_by_the_contexts_own_fields(self, capsys: Output) -> None:
        with logs.context(tenant="acme"):
            logs.note(body="canary")
            with pytest.raises(ValueError, match="not a log field: body"):
                logs.write(logging.INFO, "x")
        with logs.context(tenant="acme") as fields:
            fields["message"] = "canary"
            with pytest.raises(ValueError, match="not a log field: message"):
                logs.write(logging.INFO, "x")
        assert written(capsys) == []

    def test_of_an_object_only_its_type_is_written(self, capsys: Output) -> None:
        logs.write(logging.INFO, "x", error=ValueError("canary"), reason={"a": b"canary"})
        assert written(capsys)[0] == {
            "severity": "INFO",
            "message": "x",
            "error": "ValueError",
            "reason": {"a": "bytes"},
        }


class TestContexts:
    def test_an_inner_one_adds_and_ends(self, capsys: Output) -> None:
        with logs.context(tenant="acme", kind="outer"):
            with logs.context(kind="inner", job="1"):
                logs.write(logging.INFO, "in", kind="own")
                logs.write(logging.INFO, "in")
            logs.write(logging.INFO, "out")
        logs.write(logging.INFO, "after")
        fields = [(line.get("tenant"), line.get("kind"), line.get("job")) for line in written(capsys)]
        assert fields == [
            ("acme", "own", "1"),
            ("acme", "inner", "1"),
            ("acme", "outer", None),
            (None, None, None),
        ]

    def test_one_that_is_left_by_an_error_has_ended(self, capsys: Output) -> None:
        with pytest.raises(ZeroDivisionError), logs.context(tenant="acme"):
            raise ZeroDivisionError
        logs.write(logging.INFO, "x")
        assert "tenant" not in written(capsys)[0]

    def test_a_note_lasts_as_long_as_the_context_it_was_made_in(self, capsys: Output) -> None:
        logs.note(tenant="nobody")
        with logs.context(function="f"):
            with logs.context(function="g"):
                logs.note(tenant="acme")
                logs.write(logging.INFO, "in")
            logs.write(logging.INFO, "out")
        assert [line.get("tenant") for line in written(capsys)] == ["acme", None]

    def test_threads_do_not_see_each_others(self, capsys: Output) -> None:
        start = threading.Barrier(8)

        def work(number: int) -> None:
            with logs.context(tenant=f"t{number}"):
                start.wait(timeout=60)
                for _ in range(30):
                    logs.note(job=f"j{number}")
                    logs.write(logging.INFO, f"{number}")

        with logs.context(tenant="main", kind="main"), ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        lines = written(capsys)
        assert len(lines) == 240
        assert all(
            (line["tenant"], line["job"], line.get("kind"))
            == (f"t{line['message']}", f"j{line['message']}", None)
            for line in lines
        )

    def test_an_executors_threads_carry_what_they_are_given(self, capsys: Output) -> None:
        with (
            logs.context(tenant="acme", job="j1"),
            ThreadPoolExecutor(1, initializer=logs.carried()) as threads,
        ):
            threads.submit(logs.write, logging.INFO, "outside call", status=200).result()
        assert [(line["tenant"], line["job"], line["status"]) for line in written(capsys)] == [
            ("acme", "j1", 200)
        ]


class TestACommand:
    def test_errors_and_acts_alone_are_written_and_beside_its_output(self, capsys: Output) -> None:
        logs.configure_command("proj")
        for severity in (logging.INFO, logging.WARNING, logging.ERROR):
            logs.write(severity, "token refresh failed")
        logs.write(logging.INFO, "act with a credential", kind="audit", act="installed")
        captured = capsys.readouterr()
        assert captured.out == ""
        written = [json.loads(line) for line in captured.err.splitlines()]
        assert [(line["severity"], line.get("act")) for line in written] == [
            ("ERROR", None),
            ("INFO", "installed"),
        ]


class TestWhere:
    def test_it_names_the_type_and_the_way_of_an_error_and_not_its_text(self) -> None:
        where = logs.where(raised(lambda: int("canary")))
        assert where.startswith("ValueError at test_logs.py:")
        assert where.endswith(" raised")
        assert "<lambda>" in where
        assert "canary" not in where

    def test_it_names_the_types_of_causes_and_not_their_texts(self) -> None:
        def fail() -> None:
            try:
                dict[str, str]()["canary"]
            except KeyError as error:
                raise RuntimeError("canary") from error

        where = logs.where(raised(fail))
        assert where.startswith("RuntimeError from KeyError at test_logs.py:")
        assert "canary" not in where

    def test_it_also_names_what_was_being_handled(self) -> None:
        def fail() -> None:
            try:
                dict[str, str]()["canary"]
            except KeyError:
                raise RuntimeError("canary")  # noqa: B904 - on purpose without a cause

        assert logs.where(raised(fail)).startswith("RuntimeError from KeyError at ")

    def test_it_stays_short_for_deep_and_for_circular_errors(self) -> None:
        def deep(levels: int) -> None:
            if levels:
                deep(levels - 1)
            raise ValueError("canary")

        first, second = ValueError("canary"), KeyError("canary")
        first.__cause__, second.__cause__ = second, first
        assert (
            logs.where(first) == "ValueError from KeyError from ValueError from KeyError from ValueError at "
        )
        where = logs.where(raised(lambda: deep(200)))
        assert where.count("<") == 5
        assert "canary" not in where

    def test_an_error_that_was_never_raised_has_no_way(self) -> None:
        assert logs.where(OSError("canary")) == "OSError at "


def raised(fail: Callable[[], object]) -> Exception:
    try:
        fail()
    except Exception as error:  # noqa: BLE001 - any error is what is wanted
        return error
    pytest.fail("nothing was raised")
