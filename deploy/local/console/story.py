"""One call as a story: its steps, its state, and the stories that a filter takes. stories.py finds and joins its parts."""

import json
from dataclasses import dataclass, field
from math import inf
from typing import Any

DRY_RUN = "dry run"
STATES = ("queued", "waiting", "delivered", "dead", "refused", DRY_RUN)
KINDS = ("event", "profile", "records", "consent", "reward", "install", "admin", "schedule")


@dataclass(frozen=True)
class Part:
    """A request or an answer: a title, an address or a status, headers and body as they were."""

    title: str
    line: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)

    @property
    def media_type(self) -> str:
        """The body's media type."""
        return next((value for name, value in self.headers if name.lower() == "content-type"), "")


@dataclass(frozen=True)
class Step:
    """Something that happened in a story, at Unix seconds `at`, for `seconds` if that is known.

    `mood` is "good", "warn", "bad" or "". `guessed` means that only the time connects the step to the story. A step
    that `stands_in` is removed when a report of the call itself comes.
    """

    at: float
    place: str
    text: str
    seconds: float | None = None
    mood: str = ""
    parts: tuple[Part, ...] = ()
    guessed: bool = False
    stands_in: bool = False
    number: int = 0


@dataclass(frozen=True)
class Job:
    """A job of a story, from its last log line, at Unix seconds `at`; a job that no log line has named yet has no time."""

    kind: str
    state: str
    at: float = -inf
    reason: str = ""


@dataclass
class Known:
    """A word that several sources report, some more reliable than others.

    The most reliable source decides, not the first.
    """

    word: str = ""
    _known: tuple[float, float] = (-inf, -inf)

    def learn(self, word: str, rank: int, at: float) -> None:
        """Take the word of the most reliable source; of two equal ones, the earlier, at Unix seconds `at`."""
        if word and (rank, -at) > self._known:
            self.word, self._known = word, (rank, -at)


@dataclass
class Story:
    """One call and its effects."""

    number: int
    began_at: float
    named: Known = field(default_factory=Known)
    about: str = ""
    tenant: str = ""
    sort: Known = field(default_factory=Known)
    refusal: Known = field(default_factory=Known)
    answered: int | None = None
    steps: list[Step] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    people: dict[str, float] = field(default_factory=dict)  # and when each was in it first
    awaits: dict[str, float] = field(default_factory=dict)  # kinds of jobs, and since when
    changed: int = 0
    hidden: bool = False
    is_dry_run: bool = False
    is_begin_seen: bool = False  # else `began_at` is a guess from log lines

    def begin(self, at: float, *, seen: bool) -> None:
        """Take in the time of its beginning, from a source that has seen it or from a log line's guess."""
        if seen == self.is_begin_seen:
            self.began_at = min(self.began_at, at)
        elif seen:
            self.began_at, self.is_begin_seen = at, True

    @property
    def title(self) -> str:
        """The title of the story, in words."""
        return self.named.word

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return self.sort.word

    @property
    def reason(self) -> str:
        """Why it is dead, waits or is refused; "" if it is not."""
        for state in ("dead", "waiting"):
            if jobs := [job for job in self.jobs.values() if job.state == state]:
                return max(jobs, key=lambda job: job.at).reason
        return "" if self.jobs else self.refusal.word

    @property
    def state(self) -> str:
        """The state in one word."""
        states = {job.state for job in self.jobs.values()}
        for state in ("dead", "waiting", "queued"):
            if state in states:
                return state
        if self.awaits:
            return "queued"
        refused = self.answered is not None and not 200 <= self.answered < 400
        if refused:
            return "refused"
        return DRY_RUN if self.is_dry_run else "delivered"

    @property
    def person(self) -> str:
        """The first address of a person in it, "" if there is none."""
        addresses = [person for person in self.people if "@" in person]
        return min(addresses, key=lambda person: self.people[person], default="")

    @property
    def seconds(self) -> float:
        """From its beginning to the end of its last step."""
        return (
            max((step.at + (step.seconds or 0) for step in self.steps), default=self.began_at) - self.began_at
        )

    def in_order(self) -> list[Step]:
        """Return the steps in the order of time."""
        return sorted(self.steps, key=lambda step: (step.at, step.number))


@dataclass(frozen=True)
class Filter:
    """The filter of stories; "" is all."""

    tenant: str = ""
    profile: str = ""
    kind: str = ""
    state: str = ""

    def takes(self, story: Story) -> bool:
        """Return whether the story is wanted."""
        wanted = self.profile.strip().lower()
        return (
            not story.hidden
            and (not self.tenant or story.tenant == self.tenant)
            and (not self.kind or story.kind == self.kind)
            and (not self.state or story.state == self.state)
            and (not wanted or any(wanted in person for person in story.people))
        )


def json_of(body: bytes) -> Any:
    """Return the value of a body, None if it is no JSON."""
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return None
