"""The published interface: openapi.json. `python -m deploy.openapi` writes it, and everybody may read it without a key."""

import json
from pathlib import Path
from typing import Any

PATH = "/openapi.json"
FILE = Path(__file__).with_name("openapi.json")


def openapi() -> dict[str, Any]:
    """Return the document. It is read at the first request, so that no cold start waits for it."""
    document: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return document
