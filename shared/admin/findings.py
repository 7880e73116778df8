"""What a check of the doctor finds, and how bad it is. The checks stand in doctor.py."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is, the worst last."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Finding:
    """What one check found. `repair` says what mends it; `safe` whether `--repair` does that."""

    check: str
    severity: Severity
    message: str
    repair: str = ""
    safe: bool = False
