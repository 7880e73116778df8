"""The runbook's symptoms and their commands, read from its text. Nothing here runs one."""

import re
from pathlib import Path

RUNBOOK = (Path(__file__).parents[3] / "deploy/RUNBOOK.md").read_text()
_COMMAND = re.compile(r"`python -m (deploy\.tenants [^`]+)`")


def symptoms() -> dict[str, list[str]]:
    """Return the commands of each symptom, in the order in which they stand there."""
    (section,) = re.findall(r"^## Symptoms\n(.*?)^## ", RUNBOOK, re.MULTILINE | re.DOTALL)
    parts = re.split(r"^### (.*)$", section, flags=re.MULTILINE)
    return dict(zip(parts[1::2], map(_COMMAND.findall, parts[2::2]), strict=True))
