"""A whole customer base that a test arranges: many profiles at once, and imports that Klaviyo gives up. No HTTP here."""

from collections.abc import Callable, Mapping
from typing import Any

from deploy.local.sandbox.klaviyo.accounts import META_MOVED
from deploy.local.sandbox.klaviyo.directory import Directory
from deploy.local.sandbox.klaviyo.import_jobs import ImportJob
from deploy.local.sandbox.stage.seeding import Uncollected


class Bases(Directory):
    """The customer bases of a service that has accounts and a lock."""

    def seed_profiles(self, account: str, count: int, make: Callable[[int], Mapping[str, Any]]) -> None:
        """Write `count` profiles.

        `make` gets 0, 1, 2... and returns the arguments of `profile`: attributes, perhaps `id`.
        """
        with self._lock, Uncollected():
            known = self._account(account)
            for number in range(count):
                attributes = dict(make(number))
                data = {"id": attributes.pop("id", None), "attributes": attributes}
                known.apply_profile(data, revision=META_MOVED)

    def cancel_import(self, account: str, job_id: str) -> None:
        """Let Klaviyo give up a bulk import that has not had its effect. KeyError if there is none like it, ValueError if
        it is over.
        """
        with self._lock:
            known = self._account(account)
            known.schedule.run_due()
            job = known.jobs[job_id]
            if not isinstance(job, ImportJob):
                raise KeyError("job_id")
            job.cancel()
