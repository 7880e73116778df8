"""The last status report of each tenant, kept for a minute: Klaviyo allows fifteen reads of its webhooks a minute."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from shared.errors import DocumentExistsError, DocumentMissingError
from shared.storage.documents import Documents, Value

if TYPE_CHECKING:
    from shared.services import Services

RECENT = timedelta(seconds=60)
_ID = "last"


class StatusReports:
    """Stores the reports. A report is JSON and holds nothing personal."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.clock)

    def last(self, tenant: str, *, within: timedelta = RECENT) -> dict[str, Any] | None:
        """Return the last report if it is recent enough."""
        found = self._documents.get(_collection(tenant), _ID)
        if found is None or not isinstance(made := found.fields["made_at"], datetime):
            return None
        if self._clock() - made >= within:
            return None
        report: dict[str, Any] = json.loads(str(found.fields["report"]))
        return report

    def keep(self, tenant: str, report: dict[str, Any]) -> None:
        """Store a report in place of the last one."""
        now = self._clock()
        fields: dict[str, Value] = {
            "report": json.dumps(report),
            "made_at": now,
            "expire_at": now + timedelta(days=1),
        }
        try:
            self._documents.create(_collection(tenant), _ID, fields)
        except DocumentExistsError:
            self._replace(tenant, fields)

    def forget(self, tenant: str) -> None:
        """Forget the last report, so that the next status makes a new one."""
        self._documents.delete(_collection(tenant), _ID)

    def _replace(self, tenant: str, fields: dict[str, Value]) -> None:
        try:
            self._documents.update(_collection(tenant), _ID, fields)
        except DocumentMissingError:
            return  # somebody has just forgotten the report, because something has changed: the next status makes a new one


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/status"
