"""The data source of a tenant's records. If it no longer exists, it is found or made again: once, never in a loop.

A merchant can delete a data source in Klaviyo at any time. The next record notices it, makes the data source again under the set-up's own
lease, notes its new id and is sent once more. A record that is refused then is dead. A data source that is deleted again within a day stays
deleted until somebody installs again: a tool that removes it each time must not get a new one with each record.
"""

from collections.abc import Sequence
from datetime import timedelta

from shared.errors import CannotSucceedError, NotFoundError, RefusedError, WaitError
from shared.jobs.rules.causes import Cause
from shared.klaviyo.data_sources import made_data_source
from shared.klaviyo.resources import DATA_SOURCES
from shared.records.rules.record import Record
from shared.services import Services
from shared.tenants.tenants import Tenant

LEASE = timedelta(minutes=5)  # as long as a worker may run
ANOTHER_RUNS_SECONDS = 5.0
REMADE_ONCE_IN = timedelta(days=1)
_RELATION = "/data/relationships/data-source"


class DataSource:
    """One data source of a tenant, by its title, for one job."""

    def __init__(self, title: str, tenant: Tenant, services: Services) -> None:
        if title not in DATA_SOURCES:
            raise CannotSucceedError("The job names a data source that is none of the six.")
        self.title = title
        self._tenant = tenant
        self._services = services
        self._klaviyo = services.klaviyo(tenant)
        self._id = tenant.provisions.data_sources.get(title, "")
        self._remade_at = tenant.provisions.remade_at.get(title)

    def send(self, records: Sequence[Record], *, bulk: bool) -> None:
        """Send records in one call: many records in bulk, else one. The call is repeated once if the data source had to be found or made
        again.

        Raises:
            RefusedError: Klaviyo took none of them.
            CannotSucceedError: Klaviyo has no such data source, and it is not made again.
            ServiceError: any other refusal of Klaviyo.
        """
        self._id = self._id or self._restored(gone="")
        try:
            self._call(records, bulk)
        except RefusedError as error:
            if not _is_gone(error):
                raise
            self._id = self._restored(gone=self._id)
        else:
            return
        try:
            self._call(records, bulk)
        except RefusedError as error:
            if not _is_gone(error):
                raise
            raise CannotSucceedError(
                f"Klaviyo takes no records for {self.title}, although it was found or made again a moment ago. "
                "Install again, then replay.",
                cause=Cause.DATA_SOURCE,
            ) from error

    def _call(self, records: Sequence[Record], bulk: bool) -> None:
        if bulk:
            self._klaviyo.bulk_create_data_source_records(self._id, records)
        else:
            (record,) = records
            self._klaviyo.create_data_source_record(self._id, record)

    def _restored(self, *, gone: str) -> str:
        """Return the id of the data source that exists now; `gone` is the id that Klaviyo does not know."""
        leases = self._services.leases
        lease = leases.acquire(self._tenant.setup_lease, lasting=LEASE)
        if lease is None:
            raise WaitError("a set-up is running", service="The extension", retry_after=ANOTHER_RUNS_SECONDS)
        try:
            return self._noted(gone) or self._found(gone) or self._made(gone)
        finally:
            leases.release(lease)

    def _noted(self, gone: str) -> str:
        """Return the id that another job has noted meanwhile."""
        now = self._services.tenant_cache.fresh(self._tenant.name) or self._tenant
        self._remade_at = now.provisions.remade_at.get(self.title)
        noted = now.provisions.data_sources.get(self.title, "")
        return "" if noted == gone else noted

    def _found(self, gone: str) -> str:
        id = self._klaviyo.data_sources().get(self.title, "")
        if id and id == gone:
            raise CannotSucceedError(
                f"Klaviyo takes no records for {self.title}, although it lists it. Look at it in Klaviyo, then replay.",
                cause=Cause.DATA_SOURCE,
            )
        if id:
            self._note(id)
        return id

    def _made(self, gone: str) -> str:
        if gone and self._remade_at and self._services.clock() - self._remade_at < REMADE_ONCE_IN:
            raise CannotSucceedError(
                f"{self.title} was deleted in Klaviyo again, less than a day after it was made again. "
                "See who deletes it, install again, then replay.",
                cause=Cause.DATA_SOURCE,
            )
        id = made_data_source(self.title, DATA_SOURCES[self.title], self._klaviyo)
        self._note(id, is_remade=bool(gone))
        return id

    def _note(self, id: str, *, is_remade: bool = False) -> None:
        services, title = self._services, self.title

        def edit(now: Tenant) -> Tenant:
            if now.klaviyo_account_id != self._tenant.klaviyo_account_id:
                raise WaitError("the account was changed meanwhile", service="The extension")
            made = now.provisions
            changes: dict[str, object] = {"data_sources": {**made.data_sources, title: id}}
            if is_remade:
                changes["remade_at"] = {**made.remade_at, title: services.clock()}
            return now.model_copy(update={"provisions": made.model_copy(update=changes)})

        services.tenants.change(self._tenant.name, edit)
        services.tenant_cache.fresh(self._tenant.name)


def _is_gone(error: RefusedError) -> bool:
    """Return whether a refusal is about the data source: a 404, or a refusal that names the relationship."""
    return isinstance(error, NotFoundError) or any(field.startswith(_RELATION) for field in error.fields)
