"""A worker's handlers with the real services, on a sandbox in a separate process. It does not know their jobs."""

import io
import time
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from shared import logs
from shared.jobs.jobs import AnyJob, Delivery, Outcome, write_job
from shared.services import Services
from shared.settings import Needs, Settings
from shared.storage.encryption import new_key
from shared.storage.sqlite import SqliteDocuments
from shared.worker.delivery import deliver
from tests.bench.counting import CountingDocuments, CountingQueue
from tests.bench.servers import BenchmarkError
from tests.support.world import TENANT

_PATIENCE = 600.0  # seconds: a base of 200,000 is made in one call
REVISION = "2026-10-15"


@dataclass(frozen=True)
class Stage:
    """The services, the two sandboxes that they call, and the counts of store and queue."""

    services: Services
    queue: CountingQueue
    klaviyo: str
    omneo: str
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def on(cls, folder: Path, sandbox: dict[str, str]) -> "Stage":
        """Set up with a store in `folder`. `sandbox` are the addresses that the sandbox has printed."""
        environment = {
            "STORE": f"sqlite:{folder / 'documents.db'}", "ENCRYPTION_KEYS": f"k1:{new_key()}",
            "KLAVIYO_API_URL": sandbox["klaviyo"], "OMNEO_API_URL": sandbox["omneo"], "KLAVIYO_REVISION": REVISION,
            "KLAVIYO_CLIENT_ID": "unused", "KLAVIYO_CLIENT_SECRET": "unused",
        }  # fmt: skip
        services = Services(Settings.from_env(environment, Needs.STORE | Needs.KLAVIYO_APP))
        logs.configure("bench")
        counts: Counter[str] = Counter()
        queue = CountingQueue(counts)
        vars(services)["documents"] = CountingDocuments(SqliteDocuments(folder / "documents.db"), counts)
        vars(services)["queue"] = queue
        omneo = sandbox["omneo"].removesuffix("/{tenant}")
        return cls(services, queue, sandbox["klaviyo"], omneo, counts)

    def klaviyo_calls(self) -> list[dict[str, Any]]:
        """Return the calls that Klaviyo has recorded, oldest first."""
        return list(control(f"{self.klaviyo}/_sandbox/calls")["calls"])

    def omneo_calls(self) -> list[dict[str, Any]]:
        """Return the calls that Omneo has recorded, oldest first."""
        return list(control(f"{self.omneo}/_sandbox/calls")["calls"])

    def hand_over(self, job: AnyJob) -> float:
        """Hand the job over as Cloud Tasks would; return the seconds until it is done."""
        delivery = Delivery(job.direction, write_job(job), "queue", "task", TENANT, 0)
        with redirect_stdout(io.StringIO()):
            began = time.perf_counter()
            outcome = deliver(delivery, self.services)
            took = time.perf_counter() - began
        if outcome is not Outcome.DONE:
            raise BenchmarkError(f"a job {job.kind} came out as {outcome}")
        return took


def control(url: str, **fields: Any) -> Any:
    """Tell a sandbox to do something, or without fields ask it; return its answer."""
    method = "POST" if fields else "GET"
    answer = requests.request(method, url, json=fields or None, timeout=_PATIENCE)
    answer.raise_for_status()
    return answer.json()
