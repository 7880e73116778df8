"""A dead job as the desk keeps it. dead_jobs.py stores it."""

from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict

from shared.jobs.rules.causes import Cause


class DeadJobState(StrEnum):
    """The state of a dead job."""

    DEAD = "dead"
    REPLAYED = "replayed"  # the job is queued again; the row is removed when it succeeds


class DeadJob(BaseModel):
    """A job that the worker has given up.

    `reason` is plain and holds nothing personal. `detail` holds the service's own words and may quote personal data. `request_id` is the
    service's name for the refused call, "" if it gave none. `body` is the task's body, unchanged; `detail` and `body` are empty in the
    result of a scan. `call` is the id of the call that brought the records, "" for any other job. `attempts` counts all attempts, the last
    one included. `died_at` is the time of the last death, `first_died_at` that of the first, None if there was only one. `profiles` are
    hashes of the job's persons. `replay` is the word of the last replay. `run` is the run of that replay, "" if it was a single one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    id: str
    tenant: str
    kind: str
    reason: str
    detail: str = ""
    body: bytes
    attempts: int
    died_at: AwareDatetime
    request_id: str = ""
    cause: Cause = Cause.OTHER
    metric: str = ""
    call: str = ""
    profiles: tuple[str, ...] = ()
    accepted_at: AwareDatetime | None = None
    first_died_at: AwareDatetime | None = None
    deaths: int = 1
    state: DeadJobState = DeadJobState.DEAD
    replay: str = ""
    run: str = ""
    replayed_at: AwareDatetime | None = None
    expire_at: AwareDatetime | None = None
