"""The files that are deployed: the functions, the public paths, and the source root each function is deployed from.

The deploy scripts and the bundle on one machine stage with this same code, so that what runs here is what ships. Nothing
here starts a process or calls Google.
"""

import shutil
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

REPOSITORY = Path(__file__).resolve().parents[1]

LOCKS = "deploy/locks"

_STAGED = {"main.py", "shared", "requirements.txt"}


class StagingError(Exception):
    """The repository does not hold what should be deployed; the message says what to change."""


class Function(BaseModel):
    """One deployed function, as functions.yaml describes it. `timeout` is in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    entry_point: str
    public: bool
    memory: str = Field(pattern=r"^\d+(Mi|Gi)$")
    cpu: float = Field(gt=0)
    concurrency: int = Field(ge=1, le=1000)
    timeout: int = Field(ge=1, le=3600)
    min_instances: int = Field(ge=0)
    max_instances: int = Field(default=100, ge=1)
    makes_queues: bool = False
    calls_per_minute: int = Field(default=0, ge=0)
    first_share: int = Field(default=10, ge=1, le=99)
    watch_minutes: int = Field(default=10, ge=0, le=240)
    env: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()

    @property
    def variables(self) -> tuple[str, ...]:
        """Return the names of all environment variables it is given, secret or not."""
        return self.env + self.secrets


class Route(BaseModel):
    """A path template in Google's pathTemplateMatch syntax, and the name of the function that serves it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(pattern=r"^/", max_length=1024)
    function: str


class Schedule(BaseModel):
    """A job that is due `every` so many minutes, and the worker that is sent it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: int = Field(ge=1, le=1440)
    function: str


def load_functions(repository: Path = REPOSITORY) -> dict[str, Function]:
    """Return every function by name, in the order of functions.yaml.

    Raises:
        StagingError: the file is missing, or a row names a field wrongly.
    """
    rows = _read(repository / "deploy/gcp/functions.yaml")
    try:
        listed = TypeAdapter(dict[str, dict[str, Any]]).validate_python(rows)
        return {name: Function.model_validate({"name": name, **row}) for name, row in listed.items()}
    except ValidationError as error:
        raise StagingError(f"deploy/gcp/functions.yaml: {error}") from error


def load_routes(repository: Path = REPOSITORY) -> list[Route]:
    """Return the public paths, the first to match first.

    Raises:
        StagingError: the file is missing or malformed, or a path leads to a function that is unknown or not public.
    """
    try:
        routes = TypeAdapter(list[Route]).validate_python(_read(repository / "deploy/gcp/routes.yaml"))
    except ValidationError as error:
        raise StagingError(f"deploy/gcp/routes.yaml: {error}") from error
    public = [function.name for function in load_functions(repository).values() if function.public]
    for route in routes:
        if route.function not in public:
            raise StagingError(
                f"deploy/gcp/routes.yaml: {route.path} leads to {route.function}, which is no public function; "
                f"those are: {', '.join(public)}"
            )
    return routes


def load_schedules(repository: Path = REPOSITORY) -> dict[str, Schedule]:
    """Return what runs by the clock, by the job's kind.

    Raises:
        StagingError: the file is missing or malformed, or a job is sent to what is no worker.
    """
    try:
        rows = TypeAdapter(dict[str, Schedule]).validate_python(
            _read(repository / "deploy/gcp/schedules.yaml")
        )
    except ValidationError as error:
        raise StagingError(f"deploy/gcp/schedules.yaml: {error}") from error
    workers = [function.name for function in load_functions(repository).values() if not function.public]
    for name, row in rows.items():
        if row.function not in workers:
            raise StagingError(
                f"deploy/gcp/schedules.yaml: {name} is sent to {row.function}, which is no worker"
            )
    return rows


def stage(function: str, into: Path, *, repository: Path = REPOSITORY) -> Path:
    """Lay the source root that `function` is deployed from, and return it.

    It holds `main.py`, `shared/` and `requirements.txt`, nothing else: gcloud refuses a root without main.py, and a
    main.py in a folder of its own could not import `shared` (Cloud Run functions, source layout). Its requirements.txt is
    our lock file: pip checks hashes as soon as the file that Google's build installs from has them. Files of an earlier call in `into`
    are replaced.

    Raises:
        StagingError: there is no such function, its main.py or the lock file is missing, or `into` holds something else.
    """
    functions = load_functions(repository)
    if function not in functions:
        raise StagingError(f"there is no function {function}; functions.yaml knows: {', '.join(functions)}")
    main = repository / "functions" / function / "main.py"
    if not main.is_file():
        raise StagingError(f"functions/{function}/main.py is missing")
    if not (repository / LOCKS / "functions.txt").is_file():
        raise StagingError(f"{LOCKS}/functions.txt is missing; run make lock")
    _clear(into)
    shutil.copy2(main, into / "main.py")
    shutil.copy2(repository / LOCKS / "functions.txt", into / "requirements.txt")
    shutil.copytree(
        repository / "shared",
        into / "shared",
        ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "*.md", ".*"),
    )
    return into


def _clear(into: Path) -> None:
    """Make `into` an empty folder, unless it is plainly somebody else's."""
    into.mkdir(parents=True, exist_ok=True)
    present = list(into.iterdir())
    strangers = sorted(path.name for path in present if path.name not in _STAGED | {"__pycache__"})
    if strangers:
        raise StagingError(
            f"{into} is not a staged source root, it holds {strangers[0]}; name an empty folder"
        )
    for path in present:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _read(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise StagingError(f"deploy/gcp/{path.name} cannot be read: {error}") from error
