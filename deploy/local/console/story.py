"""One call as a story: what happened in it, step by step, where it is now, and which stories a filter takes. How its parts are found
and joined stands in stories.py.
"""

from dataclasses import dataclass, field

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

    `mood` is "good", "warn", "bad" or "". `guessed` where only the time says that it belongs here. One that `stands_in` goes when who has
    seen the call itself tells of it.
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


@dataclass
class Job:
    """A job of a story, by what was logged of it last."""

    kind: str
    state: str


@dataclass
class Story:
    """One call and what came of it."""

    number: int
    began_at: float
    title: str = ""
    about: str = ""
    tenant: str = ""
    kind: str = ""
    reason: str = ""
    answered: int | None = None
    steps: list[Step] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    people: dict[str, None] = field(default_factory=dict)
    awaits: set[str] = field(default_factory=set)
    changed: int = 0
    hidden: bool = False
    is_dry_run: bool = False
    rank: float = 0  # how well `title` is known; a better one takes its place

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
        return next((person for person in self.people if "@" in person), "")

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
