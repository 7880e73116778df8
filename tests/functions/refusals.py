"""What every refusal of a function has in common, and a store that cannot answer."""

from collections.abc import Mapping
from pathlib import Path

from werkzeug.test import TestResponse


def error_of(answer: TestResponse) -> dict[str, str]:
    """Return the error of an answer, after checking that it is one and nothing else, and repeats no canary."""
    body = answer.get_json()
    assert list(body) == ["error"]
    assert sorted(body["error"]) == ["code", "message"]
    assert "canary" not in answer.get_data(as_text=True)
    return dict(body["error"])


def with_a_broken_store(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the environment with a store that cannot answer: its folder is a file in `folder`."""
    (folder / "a-file").touch()
    return {**environment, "STORE": f"sqlite:{folder}/a-file/documents.db"}
