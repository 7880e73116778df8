"""The processes of a group, as Linux tells them."""

import os
from contextlib import suppress
from pathlib import Path


def members(group: int) -> list[int]:
    """Return the ids of a group's processes."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getpgid(int(folder.name)) == group:
                found.append(int(folder.name))
    return found
