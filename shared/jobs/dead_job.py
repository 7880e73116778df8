"""A dead job as the desk keeps it. dead_jobs.py stores it."""

from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict

from shared.jobs.rules.causes import Cause


class DeadJobState(StrEnum):
    """The state of a dead job."""

    DEAD = "dead"
    REPLAYED = "replayed"  # it is queued again; the row goes when it succeeds


class DeadJob(BaseModel):
    """A job that the worker has given up.

    `reason` is plain and holds nothing personal. `detail` holds the service's own words and may quote personal data. `request_id` is the
    service's name for the call that it refused, "" if it gives none. `body` is the task's body, unchanged; `detail` and `body` are empty in
    what a scan gives. `call` is the id of the call whose records they are, "" of any other job. `attempts` is how often it was tried, with the time that it died of. `died_at` is the last time, `first_died_at` the first, None if there was but one. `profiles` are hashes of whom it is about.
    `replay` is the word of the last replay, `run` the run that it belongs to, "" if it was alone.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

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
