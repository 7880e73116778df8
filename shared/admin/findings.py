"""A finding of the doctor, and how bad it is. The checks stand in checks.py."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is, the worst last."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Finding:
    """The result of one check. `repair` says what mends it; `safe` whether `--repair` does that."""

    check: str
    severity: Severity
    message: str
    repair: str = ""
    safe: bool = False
