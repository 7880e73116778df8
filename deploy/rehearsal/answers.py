"""Recorded answers of calls, with made-up values, one file for each answer. Tests read a folder of them. Only the
format is here; scrubbing.py removes the real values.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

Source: TypeAlias = Literal["recorded", "documented", "assumed"]
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class RecordedAnswer:
    """An answer and its request, with made-up values.

    `path` has `{id}` in place of ids, and `*` for method and path means every operation of the service. `parameters`
    are the names of the query's parameters. `sent` and `body` are JSON, or None; `text` is a body that is not JSON.
    Names of headers are in small letters. `case` says in a sentence when the answer comes, and `source` where it is
    from.
    """

    service: str
    method: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: Any = None
    text: str = ""
    parameters: tuple[str, ...] = ()
    sent: Any = None
    case: str = ""
    source: Source = "recorded"
    file: str = field(default="", compare=False)

    @property
    def operation(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes that a refusal gives, each once, in the order of the alphabet; a success has no codes."""
        return codes_of(self.body) if self.status >= 400 else ()

    @property
    def name(self) -> str:
        """How its file is called, without the end."""
        words = _NOT_IN_A_NAME.sub("-", self.path.lower().replace("/api/", "/")).strip("-")
        method = "any" if self.method == "*" else self.method.lower()
        return "-".join(filter(None, (method, words))) + "." + "-".join([str(self.status), *self.codes])

    def to_json(self) -> dict[str, Any]:
        """Return the answer in the form of its file."""
        parameters = {"parameters": list(self.parameters)} if self.parameters else {}
        sent = {} if self.sent is None else {"body": self.sent}
        body = {"text": self.text} if self.text else {} if self.body is None else {"body": self.body}
        return {
            "service": self.service,
            "case": self.case,
            "source": self.source,
            "request": {"method": self.method, "path": self.path, **parameters, **sent},
            "answer": {"status": self.status, "headers": dict(self.headers), **body},
        }


def codes_of(body: Any) -> tuple[str, ...]:
    """Return the codes of an error document of Klaviyo's, of JSON:API or of OAuth; Omneo's errors have none.

    >>> codes_of({"errors": [{"code": "invalid"}, {"code": "invalid"}]}), codes_of({"error": "invalid_grant"}), codes_of({"message": "No"})
    (('invalid',), ('invalid_grant',), ())
    """
    if not isinstance(body, Mapping):
        return ()
    rows = body.get("errors")
    found = [row.get("code") for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    return tuple(sorted({code for code in (*found, body.get("error")) if isinstance(code, str)}))


def read_answers(folder: Path) -> list[RecordedAnswer]:
    """Return the answers that a folder and the folders in it hold, in the order of their files.

    Raises:
        ValueError: a file is none; the message names it.
    """
    return [_read(path, folder) for path in sorted(folder.rglob("*.json"))]


def write_answers(answers: Iterable[RecordedAnswer], folder: Path) -> list[Path]:
    """Write each answer into its own file below the folder of its service, and return the files.

    No answer overwrites another.
    """
    written: list[Path] = []
    for answer in answers:
        path = _free_path(folder / answer.service.lower(), answer.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(answer.to_json(), indent=2, ensure_ascii=False) + "\n")
        written.append(path)
    return written


def _free_path(folder: Path, name: str) -> Path:
    number, path = 1, folder / f"{name}.json"
    while path.exists():
        number += 1
        path = folder / f"{name}.{number}.json"
    return path


def _read(path: Path, folder: Path) -> RecordedAnswer:
    try:
        row = json.loads(path.read_text())
        request, answer = row["request"], row["answer"]
        return RecordedAnswer(
            service=row["service"],
            method=request["method"],
            path=request["path"],
            status=int(answer["status"]),
            headers=dict(answer["headers"]),
            body=answer.get("body"),
            text=answer.get("text", ""),
            parameters=tuple(request.get("parameters", ())),
            sent=request.get("body"),
            case=row["case"],
            source=row["source"],
            file=str(path.relative_to(folder)),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: this is no recorded answer") from error
