"""What the played Google Cloud holds and how it answers: resources by name, and a record of every call.

A call that no module plays is refused and kept in `unknown`; a test that finds one there fails. Where the real services
refuse (a thing twice, a thing that is not there, an API that is off), this one refuses too. What takes time there takes time
here: `seconds` pass as scripts sleep, and what was just made, given or switched on is known only after some of them.
"""

import importlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Thing: TypeAlias = dict[str, Any]

_PLAYED = ("projects", "data", "run", "balancing", "names", "tasks", "watching")
_READS = re.compile(r":(getIamPolicy|list|access|testIamPermissions|validate|query)$|/wait$")
_API_OF = {
    "cloudresourcemanager": "",
    "serviceusage": "",
    "logging": "",
    "storage": "",
    "resolver": "",
    "cloudbilling": "",  # asked as gcloud's own project
}  # on in every project


class RefusedError(Exception):
    """The service's own refusal, as it would say it."""

    def __init__(self, status: int, message: str, word: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.word = word


@dataclass(frozen=True)
class Request:
    """One call as it came in."""

    service: str
    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    region: str = ""  # that of a regional host

    @property
    def json(self) -> Thing:
        """Return the body's JSON object, {} if there is none."""
        value = json.loads(self.body or b"{}")
        assert isinstance(value, dict)
        return value

    @property
    def changes(self) -> bool:
        """Whether it is of a kind that changes something."""
        return self.method != "GET" and not _READS.search(self.path)

    def __str__(self) -> str:
        return f"{self.service} {self.method} {self.path}"


# What a project may have of these; a new one of some organisations has less.
_QUOTAS = {"BACKEND_SERVICES": 50, "SECURITY_POLICIES": 10, "URL_MAPS": 10}

Play: TypeAlias = Callable[..., object]


@dataclass(frozen=True)
class Route:
    """A call that is played: of which service, and by what."""

    service: str
    method: str
    pattern: re.Pattern[str]
    play: Play


_routes: list[Route] = []


def plays(service: str, method: str, path: str) -> Callable[[Play], Play]:
    """Let the function answer these calls; `{name}` in the path is one segment, `{name+}` any number."""
    pattern = re.sub(r"\\{(\w+)\\\+\\}", r"(?P<\1>.+?)", re.escape(path))
    pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/:]+)", pattern)

    def register(function: Play) -> Play:
        _routes.append(Route(service, method, re.compile(pattern), function))
        return function

    return register


def keeps(service: str, path: str, kind: str, listed: str, *, deletes: bool = True) -> None:
    """Let the things of a kind be listed, in the field `listed`, and be read and deleted by their ids."""
    one = f"{path}/{{id}}"
    plays(service, "GET", path)(lambda cloud, _request, **_where: {listed: cloud.under(kind)})
    plays(service, "GET", one)(lambda cloud, _request, *, id, **_where: cloud.get(f"{kind}/{id}"))
    if deletes:
        plays(service, "DELETE", one)(lambda cloud, _request, *, id, **_where: cloud.delete(f"{kind}/{id}"))


@dataclass
class Cloud:
    """One project. `fails` lets a test refuse calls: it is asked with each, and returns a status or None."""

    project: str = "demo-project"
    number: str = "123456789012"
    things: dict[str, Thing] = field(default_factory=dict)
    calls: list[tuple[Request, int]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    fails: Callable[[Request], int | None] = lambda _: None
    clock: int = 0
    seconds: int = 0
    quotas: dict[str, int] = field(default_factory=lambda: dict(_QUOTAS))
    starts: Callable[[Thing], bool] = lambda _: True
    smoke_status: Callable[[str], int] = lambda _: 401
    billing: bool = True
    withheld: set[str] = field(default_factory=set)
    resolves: dict[str, tuple[str, ...]] = field(default_factory=dict)
    called_under: set[str] = field(default_factory=set)
    answers: Callable[[str], dict[str, int]] = lambda _: {"2xx": 40}
    made_at: dict[str, int] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        for name in _PLAYED:
            importlib.import_module(f"tests.deploy.gcp.play_{name}")

    def answer(self, request: Request) -> tuple[int, dict[str, str], object]:
        """Return status, headers and JSON."""
        with self._lock:
            status, headers, answer = self._play(request)
            self.calls.append((request, status))
            return status, headers, answer

    def _play(self, request: Request) -> tuple[int, dict[str, str], object]:
        if (status := self.fails(request)) is not None:
            return status, {}, _error(status, "the test wants it so")
        for route in _routes:
            if (route.service, route.method) == (request.service, request.method) and (
                found := route.pattern.fullmatch(request.path)
            ):
                return self._run(route, request, found.groupdict())
        self.unknown.append(str(request))
        return (
            400,
            {},
            _error(400, f"the recorder does not know {request}"),
        )  # gcloud would repeat a 501 for long

    def _run(
        self, route: Route, request: Request, names: dict[str, str]
    ) -> tuple[int, dict[str, str], object]:
        try:
            self._check_api(request.service)
            answer = route.play(self, request, **names)
        except RefusedError as error:
            return error.status, {}, _error(error.status, str(error), error.word)
        except Exception as error:  # noqa: BLE001 - gcloud would repeat a broken connection for long
            self.unknown.append(f"{request}: {error!r}")
            return 400, {}, _error(400, f"the recorder failed over {request}")
        if isinstance(answer, tuple):
            return answer
        return 200, {}, {} if answer is None else answer

    def _check_api(self, service: str) -> None:
        if service not in _API_OF and f"api/{service}.googleapis.com" not in self.things:
            raise RefusedError(403, f"{service}.googleapis.com has not been used in this project or is off")
        if service not in _API_OF:
            self.check_known(
                f"api/{service}.googleapis.com", 20, f"{service}.googleapis.com has not been used in it"
            )

    def get(self, name: str) -> Thing:
        """Return what has this name."""
        if name not in self.things:
            raise RefusedError(404, f"{name} was not found")
        return self.things[name]

    def create(self, name: str, thing: Thing) -> Thing:
        """Keep a new thing."""
        if name in self.things:
            raise RefusedError(409, f"{name} already exists")
        self.things[name] = thing
        self.made_at[name] = self.seconds
        return thing

    def check_known(self, name: str, after: int, refusal: str, status: int = 403) -> None:
        """Refuse as if the thing were not there until so many seconds after it was made."""
        if self.seconds < self.made_at.get(name, -after) + after:
            raise RefusedError(status, refusal)

    def delete(self, name: str) -> Thing:
        """Forget a thing and what lies below it."""
        thing = self.get(name)
        for below in [key for key in self.things if key == name or key.startswith(f"{name}/")]:
            del self.things[below]
        return thing

    def under(self, parent: str) -> list[Thing]:
        """Return the things directly below a name, in the order they were made."""
        return [
            thing
            for name, thing in self.things.items()
            if name.startswith(f"{parent}/") and "/" not in name[len(parent) + 1 :]
        ]

    def tick(self) -> int:
        """Return a number never returned before."""
        self.clock += 1
        return self.clock

    def changes_since(self, mark: int) -> list[str]:
        """Return the calls after the first `mark` ones that change something, refused ones too."""
        return [str(request) for request, _ in self.calls[mark:] if request.changes]


def iam_policy(cloud: Cloud, name: str) -> Thing:
    """Return the IAM policy of what has this name, empty at first."""
    return cloud.things.setdefault(f"policy:{name}", {"version": 1, "etag": "BwXlRecord01", "bindings": []})


def set_iam_policy(cloud: Cloud, name: str, request: Request) -> Thing:
    """Replace a policy, if it is still the one that was read, and if its members exist."""
    current, wanted = iam_policy(cloud, name), request.json["policy"]
    if wanted.get("etag", current["etag"]) != current["etag"]:
        raise RefusedError(409, "There were concurrent policy changes.", "ABORTED")
    for binding in wanted.get("bindings", []):
        for member in binding["members"]:
            _check_member(cloud, member)
    etag = f"BwXlRec{cloud.tick():05d}"  # gcloud insists on base64
    for role, member in _pairs(wanted) - _pairs(current):
        cloud.made_at[f"right:{name}:{role}:{member}"] = cloud.seconds
    cloud.things[f"policy:{name}"] = {"version": 1, **wanted, "etag": etag}
    return cloud.things[f"policy:{name}"]


def _check_member(cloud: Cloud, member: str) -> None:
    kind, _, address = member.partition(":")
    is_ours = address.endswith(f"@{cloud.project}.iam.gserviceaccount.com")
    if kind == "serviceAccount" and is_ours and f"account/{address}" not in cloud.things:
        raise RefusedError(400, f"Service account {address} does not exist.")
    cloud.check_known(f"account/{address}", 30, f"Service account {address} does not exist.", 400)


def _pairs(policy: Thing) -> set[tuple[str, str]]:
    return {
        (binding["role"], member) for binding in policy.get("bindings", []) for member in binding["members"]
    }


def holds(cloud: Cloud, name: str, role: str, member: str) -> bool:
    """Whether the policy of what has this name binds the member to the role, and everybody knows it."""
    if cloud.seconds < cloud.made_at.get(f"right:{name}:{role}:{member}", -60) + 60:
        return False
    bindings = iam_policy(cloud, name)["bindings"]
    return any(binding["role"] == role and member in binding["members"] for binding in bindings)


def _error(status: int, message: str, word: str = "") -> Thing:
    word = word or {
        400: "INVALID_ARGUMENT",
        403: "PERMISSION_DENIED",
        404: "NOT_FOUND",
        409: "ALREADY_EXISTS",
        503: "UNAVAILABLE",
    }.get(status, "UNKNOWN")
    return {
        "error": {
            "code": status,
            "status": word,
            "message": message,
            "errors": [{"message": message, "reason": word}],
        }
    }
