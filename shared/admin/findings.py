"""A finding of the doctor with its severity, and the sentences that several checks use. checks.py lists the checks."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.errors import ServiceError, WaitError
from shared.http.forbidden import lacks_a_scope, what_mends

REINSTALL = "Install the app again from Klaviyo's marketplace; nothing is lost meanwhile."
REPAIR = "Run the repair: it makes what is missing."
IT_PASSES = "Jobs wait, and go on by themselves when it answers again."


class Severity(StrEnum):
    """The severity of a finding; the worst comes last."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Finding:
    """The result of one check. `repair` says what mends it, and `safe` says whether `--repair` does it."""

    check: str
    severity: Severity
    message: str
    repair: str = ""
    safe: bool = False


def what_mends_it(error: Exception) -> str:
    """Return what mends a refusal, "" if the service does not name its cause."""
    if not isinstance(error, ServiceError) or error.status != 403 or isinstance(error, WaitError):
        return ""
    return REINSTALL if lacks_a_scope(error) else what_mends(error)


def shown(time: datetime) -> str:
    """Return a time as the findings show it."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
