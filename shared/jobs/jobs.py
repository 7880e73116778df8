"""Every job as a model, and how it travels in a task.

Jobs outlive deploys: changes are additive only, new fields have defaults, a `kind` is never renamed. To add one: a class
here, its place in `AnyJob`, a `case` in worker/run.py (the type checker insists), a row in shared/README.md (a test insists).
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, Literal, Self, TypeAlias, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from shared.consent_events import Channel, SystemEvent
from shared.direction import Direction
from shared.errors import ExtensionError

TASK_BYTES = 900_000  # a Cloud Tasks task holds 1 MiB, its headers and envelope included


class Job(BaseModel):
    """The fields of every job. `attempts` counts the times it was put back to wait.

    A replay of a dead job carries `replay`, a word that this replay alone has, `dead_id`, the id of its row on the desk, and `replayed_at`,
    from which on its age counts.
    One that waits for another job of ours carries `turn`, the id of the lease that the other holds.
    """

    # A cold start builds none of the models it does not use.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)
    direction: ClassVar[Direction]

    tenant: str
    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    accepted_at: AwareDatetime
    attempts: int = 0
    last_failure: str = ""
    traceparent: str = ""
    replay: str = ""
    dead_id: str = ""
    replayed_at: AwareDatetime | None = None
    turn: str = ""

    @property
    def waits_since(self) -> datetime:
        """From when on its age counts."""
        return self.replayed_at or self.accepted_at

    def replayed(self, *, word: str, dead_id: str, at: datetime) -> Self:
        """Return the same job as a replay: what it is to do stays, what it has been through is forgotten."""
        fresh = {"attempts": 0, "last_failure": "", "turn": ""}
        return self.model_copy(update={**fresh, "replay": word, "dead_id": dead_id, "replayed_at": at})


class SendMetric(Job):
    """Create a Klaviyo event.

    `event` holds the attributes of Klaviyo's Create Event, complete with `unique_id` and `time`. `with_token` asks for an Omneo
    ID token in its properties; `omneo_profile_id` is whose, when the call named the Omneo profile. One that is `alone` is never to go in
    a bulk job: it was in one whose outcome nobody knows, or an earlier delivery may have sent it.
    """

    direction: ClassVar[Direction] = Direction.OUTBOUND
    kind: Literal["send-metric"] = "send-metric"
    event: dict[str, JsonValue]
    with_token: bool = False
    omneo_profile_id: str = ""
    alone: bool = False


class PackEvents(Job):
    """Send what waits in the backlog of events, in bulk jobs."""

    direction: ClassVar[Direction] = (
        Direction.INBOUND
    )  # or it would stand behind the very events that it is to work off
    kind: Literal["pack-events"] = "pack-events"


class Provision(Job):
    """Make what an install needs in Klaviyo and Omneo."""

    direction: ClassVar[Direction] = Direction.OUTBOUND
    kind: Literal["provision"] = "provision"


class SendRecords(Job):
    """Put records into the outbox of one of the six data sources, which `data_source` names by its title, to be sent from there.

    A dead job of this kind holds what Klaviyo refused; a replay sends it again. `call` is the id of the call that brought them, "" if the
    job has that id itself.
    """

    direction: ClassVar[Direction] = Direction.OUTBOUND
    kind: Literal["send-records"] = "send-records"
    data_source: str
    records: tuple[dict[str, JsonValue], ...]
    call: str = ""


class PackRecords(Job):
    """Send what waits in the outbox for one data source, in the order in which it was accepted."""

    direction: ClassVar[Direction] = Direction.OUTBOUND
    kind: Literal["pack-records"] = "pack-records"
    data_source: str


class SpreadEvents(Job):
    """Put consent events, as Klaviyo's account `account` delivered them, into the inboxes of their profiles."""

    direction: ClassVar[Direction] = Direction.INBOUND
    kind: Literal["spread-events"] = "spread-events"
    account: str
    events: tuple[SystemEvent, ...]


class ReadEvents(Job):
    """Read consent events of a known topic that could not be read as they came, and spread them.

    `rows` are what Klaviyo has sent of them, cut down to what is needed, `sent_at` is when.
    """

    direction: ClassVar[Direction] = Direction.INBOUND
    kind: Literal["read-events"] = "read-events"
    account: str
    rows: tuple[dict[str, JsonValue], ...]
    sent_at: AwareDatetime | None = None


class FlushInbox(Job):
    """Bring everything in the inbox of one Klaviyo profile to Omneo."""

    direction: ClassVar[Direction] = Direction.INBOUND
    kind: Literal["flush-inbox"] = "flush-inbox"
    profile: str


class SweepInbox(Job):
    """Flush the inboxes in which something has been waiting for minutes."""

    direction: ClassVar[Direction] = Direction.INBOUND
    kind: Literal["sweep-inbox"] = "sweep-inbox"


class SweepOutbox(Job):
    """Have records and events packed, and profile syncs given back, that have been waiting in the store for minutes."""

    direction: ClassVar[Direction] = Direction.INBOUND  # the schedule calls that worker
    kind: Literal["sweep-outbox"] = "sweep-outbox"


class AddInteraction(Job):
    """Add the interaction of one event that Omneo refused while the profile's inbox was flushed."""

    direction: ClassVar[Direction] = Direction.INBOUND
    kind: Literal["add-interaction"] = "add-interaction"
    omneo_profile_id: str
    event: SystemEvent
    signal: int


class KeepMasterList(Job):
    """See to it that a Klaviyo profile which is subscribed to email stands on the tenant's master list."""

    direction: ClassVar[Direction] = Direction.INBOUND
    kind: Literal["keep-master-list"] = "keep-master-list"
    profile: str
    omneo_profile_id: str = ""  # "" in a job that an older revision has queued


class Heal(Job):
    """Read consent events back from Klaviyo, a page a job, and handle those that no webhook brought.

    Without `began_at` the run is yet to begin. `since` is from when on, `metrics` are those still to be read, with their topics, and
    `cursor` is the next page of the first. `whole` reads the events of all metrics at once, where Klaviyo will not filter by one.
    `holder` is who holds the lease that keeps a second run from starting, "" if nobody took one.
    """

    direction: ClassVar[Direction] = Direction.INBOUND
    kind: Literal["heal"] = "heal"
    began_at: AwareDatetime | None = None
    since: AwareDatetime | None = None
    metrics: tuple[tuple[str, str], ...] = ()
    cursor: str = ""
    whole: bool = False
    found: int = 0
    holder: str = ""


class SyncProfile(Job):
    """Make the Klaviyo profile what the Omneo profile is when the job runs, consent included.

    Calls that came before `until` count on this job. A sync that has read the profile since then has done its work. `leaves_undated` is for
    runs over the whole base: an opt-in that has no date is not asked for. `may_wait` says that it may wait behind others, if Omneo shows no
    opt-out that Klaviyo has not been told of; `has_waited` that it was asked, and showed none: of a later one another call tells. `alone` says
    that it does not go in a bulk import.
    """

    direction: ClassVar[Direction] = Direction.OUTBOUND
    kind: Literal["sync-profile"] = "sync-profile"
    profile_id: str
    until: AwareDatetime
    leaves_undated: bool = False
    may_wait: bool = True
    has_waited: bool = False
    alone: bool = False


class PackSyncs(Job):
    """Give syncs of the backlog back to the queue, in the order in which they were accepted, as many as Klaviyo takes in some seconds."""

    direction: ClassVar[Direction] = Direction.OUTBOUND
    kind: Literal["pack-syncs"] = "pack-syncs"


class ImportSyncs(Job):
    """Send many syncs of the backlog in Klaviyo's bulk imports, and see the imports under way through to their ends."""

    direction: ClassVar[Direction] = Direction.OUTBOUND
    kind: Literal["import-syncs"] = "import-syncs"


class DeleteProfile(Job):
    """Do with the Klaviyo profile of a deleted Omneo profile what the tenant's settings say.

    `klaviyo_id` is the identity that the deleted profile held, "" if none: Omneo no longer tells.
    """

    direction: ClassVar[Direction] = Direction.OUTBOUND
    kind: Literal["delete-profile"] = "delete-profile"
    profile_id: str
    klaviyo_id: str = ""


class PullOptOut(Job):
    """Write an opt-out to Omneo that Klaviyo holds and Omneo does not. `at` is when it was, None if Klaviyo does not say.

    `is_anothers` says that Klaviyo holds it of another's profile, which had the address still: then it is to be told of this one too.
    """

    direction: ClassVar[Direction] = Direction.INBOUND
    kind: Literal["pull-opt-out"] = "pull-opt-out"
    profile_id: str
    channel: Channel
    at: AwareDatetime | None = None
    is_anothers: bool = False


class CompareConsent(Job):
    """Compare Klaviyo's consents with Omneo's some minutes after they were asked for, and mend what has come apart.

    For many profiles (at most 100) the job reads only Klaviyo, in one call, and queues a job for each profile that needs a full look.
    `again` is a second look, which no other follows.
    """

    direction: ClassVar[Direction] = Direction.OUTBOUND
    kind: Literal["compare-consent"] = "compare-consent"
    profile_ids: tuple[str, ...]
    again: bool = False


class Resync(Job):
    """Do one stretch of a run over the tenant's whole base, unless another chain of jobs has taken over since."""

    direction: ClassVar[Direction] = Direction.OUTBOUND
    kind: Literal["resync"] = "resync"
    run_id: str
    chain: str = ""


class Notify(Job):
    """Tell the tenant's own address what an operator should know. `about` holds nothing personal."""

    direction: ClassVar[Direction] = (
        Direction.INBOUND
    )  # the other queue stands still while the account is disconnected
    kind: Literal["notify"] = "notify"
    cause: str
    about: dict[str, JsonValue] = {}


class ReplayDeadJobs(Job):
    """Replay some of the dead jobs that a run means (`replays.py`), and queue the next such job. `step` counts the jobs of the run."""

    direction: ClassVar[Direction] = Direction.INBOUND
    kind: Literal["replay-dead-jobs"] = "replay-dead-jobs"
    run_id: str
    step: int = 0


class EveryTenant(Job):
    """Queue a job for every installed tenant. The schedule sends it, which knows neither a tenant nor the time."""

    direction: ClassVar[Direction] = Direction.INBOUND
    kind: Literal["every-tenant"] = "every-tenant"
    tenant: str = ""
    accepted_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    run: Literal["sweep-inbox", "sweep-outbox", "heal", "reconcile"]


AnyJob: TypeAlias = (
    SendMetric
    | PackEvents
    | Provision
    | SendRecords
    | PackRecords
    | SpreadEvents
    | ReadEvents
    | FlushInbox
    | SweepInbox
    | SweepOutbox
    | AddInteraction
    | KeepMasterList
    | Heal
    | SyncProfile
    | PackSyncs
    | ImportSyncs
    | DeleteProfile
    | PullOptOut
    | CompareConsent
    | Resync
    | Notify
    | ReplayDeadJobs
    | EveryTenant
)
KINDS: dict[str, type[AnyJob]] = {job.model_fields["kind"].default: job for job in get_args(AnyJob)}


class Outcome(StrEnum):
    """The result of a delivery. Each means that the queue may forget the task."""

    DONE = "done"
    WAITING = "waiting"
    DEAD = "dead"
    GONE = "gone"  # its tenant was deleted


@dataclass(frozen=True)
class Delivery:
    """One delivery of a task, as Cloud Tasks made it. `retries` counts the deliveries before this one."""

    direction: Direction
    body: bytes
    queue: str
    task: str
    tenant: str
    retries: int


class UnreadableJobError(ExtensionError):
    """The task's body is not a job, and never will be."""


class UnknownJobKindError(ExtensionError):
    """The sender runs a newer revision than this one; the job waits until the deploy is through. `attempts` counts its waits."""

    def __init__(self, tenant: str, accepted_at: datetime | None, attempts: int) -> None:
        super().__init__("this revision does not know the job's kind")
        self.tenant = tenant
        self.accepted_at = accepted_at
        self.attempts = attempts


def write_job(job: AnyJob) -> bytes:
    """Return the task body."""
    return job.model_dump_json().encode()


def read_job(body: bytes) -> AnyJob:
    """Return the job in a task body.

    Raises:
        UnreadableJobError: it is no job.
        UnknownJobKindError: it is one that only another revision can do.
    """
    try:
        raw: Any = _object().validate_json(body)
    except ValidationError:
        raise UnreadableJobError("the task's body is not a JSON object") from None
    kind = raw.get("kind")
    if not isinstance(kind, str):
        raise UnreadableJobError("the task's body names no kind of job")
    if kind not in KINDS:
        raise UnknownJobKindError(str(raw.get("tenant", "")), _time(raw.get("accepted_at")), _attempts(raw))
    try:
        return KINDS[kind].model_validate_json(body)
    except ValidationError as error:
        # The error's own text would repeat the values.
        fields = ", ".join(".".join(map(str, e["loc"])) for e in error.errors(include_input=False)[:5])
        raise UnreadableJobError(f"the job lacks or garbles: {fields}") from None


@cache  # to build it takes longer than most jobs
def _object() -> TypeAdapter[dict[str, JsonValue]]:
    return TypeAdapter(dict[str, JsonValue])


def _time(value: object) -> datetime | None:
    try:
        return TypeAdapter(AwareDatetime).validate_python(value)
    except ValidationError:
        return None


def _attempts(raw: Mapping[str, Any]) -> int:
    attempts = raw.get("attempts")
    return max(attempts, 0) if isinstance(attempts, int) else 0


def age_one_attempt(body: bytes) -> bytes:
    """Return the body of a job of any kind, known or not, with its `attempts` one higher."""
    raw = json.loads(body)
    raw["attempts"] = _attempts(raw) + 1
    return json.dumps(raw, ensure_ascii=False).encode()
