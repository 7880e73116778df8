"""Keeps the answers of calls, scrubbed, each form of an answer once. Nothing that was heard leaves this module but through scrubbing.py."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from deploy.rehearsal.answers import RecordedAnswer, read_answers, write_answers
from deploy.rehearsal.comparing import outcome, unlike
from deploy.rehearsal.exchanges import Exchange
from deploy.rehearsal.scrubbing import Scrubber

_FORM = "application/x-www-form-urlencoded"


class Recorder:
    """Hears calls and keeps their answers; one of a form that it has is not kept again."""

    def __init__(self) -> None:
        self.answers: list[RecordedAnswer] = []

    def hear(self, exchange: Exchange) -> None:
        """Keep an answer as `recorded` makes it, if one came and it says something new."""
        heard = recorded(exchange)
        if heard is not None and not any(_same(heard, known) for known in self.answers):
            self.answers.append(heard)

    def write(self, folder: Path) -> list[Path]:
        """Write each kept answer whose form the folder does not hold yet, and return the files."""
        known = read_answers(folder) if folder.is_dir() else []
        new = [answer for answer in self.answers if not any(_same(answer, row) for row in known)]
        return write_answers(new, folder)


def recorded(exchange: Exchange) -> RecordedAnswer | None:
    """Return a call and its answer without personal or secret values, None if no answer came."""
    answer = exchange.answer
    if answer is None:
        return None
    scrubber, (is_json, body) = Scrubber(), _json(answer.body)
    text = scrubber.text(answer.body) if answer.body.strip() and not is_json else ""
    return RecordedAnswer(
        service=exchange.service,
        method=exchange.method,
        path=exchange.template,
        status=answer.status,
        headers=scrubber.headers(answer.headers),
        body=scrubber.body(body),
        text=text,
        parameters=scrubber.parameters(exchange.params),
        sent=scrubber.body(_sent(exchange.headers, exchange.data)),
        case=f"{exchange.service} answered {answer.status}.",
    )


def _sent(headers: Mapping[str, str], data: bytes | None) -> Any:
    if not data:
        return None
    if headers.get("Content-Type") == _FORM:
        return dict(parse_qsl(data.decode("ascii", errors="replace")))
    return _json(data)[1]


def _json(body: bytes) -> tuple[bool, Any]:
    try:
        return True, json.loads(body)
    except (ValueError, RecursionError):
        return False, None


def _same(one: RecordedAnswer, other: RecordedAnswer) -> bool:
    """Return whether two answers are of the same outcome of the same operation, and of the same form."""
    said = [(answer.service, answer.operation, outcome(answer)) for answer in (one, other)]
    return said[0] == said[1] and not any(unlike([one], [other]))
