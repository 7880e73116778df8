"""GET /openapi.json, and the functions held against it: its own examples are taken, and what they answer is what it says."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, assume, given, settings
from werkzeug.test import Client, TestResponse

from shared.admin.interface import PATH, openapi
from shared.consent.ledger import ensure_ledger_key
from shared.errors import CannotSucceedError
from shared.installation.links import InstallLinks
from shared.jobs.burial import bury
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import SyncProfile
from tests.support.front import Front
from tests.support.loading import Load
from tests.support.merchant import Merchant, field, pages_of
from tests.support.world import EMAIL, INSTALLATION_KEY, TENANT, World

if TYPE_CHECKING:
    from schemathesis import Case

PROFILE = "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01"
DOCUMENT = openapi()
Json = dict[str, Any]
# Of each operation; the suite has seconds for all of them.
EXAMPLES = 5
# Calls after which the others would find nothing: they come last.
ENDING = ["/{tenant}/api/v1/install"]


@dataclass(frozen=True)
class Example:
    """A call that the document shows, the status of its success, and the schema of its answer, None for a page."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    media: str
    body: Any
    status: int
    schema: Json | None


@pytest.fixture
def front(world: World, load: Load) -> Front:
    """Return all functions, with an installed tenant, a profile and a reward definition."""
    world.tenant()
    ensure_ledger_key(world.services.tenants, TENANT)
    world.sandbox.omneo.profile(TENANT, id=PROFILE, email=EMAIL)
    world.sandbox.omneo.reward_definition(TENANT, id=7, handle="birthday", period=30, period_type="days")
    return Front(world, load)


def examples() -> Iterator[Example]:
    """Yield each call that the document shows, as often as it shows a body for it."""
    for path, item in sorted(DOCUMENT["paths"].items(), key=lambda entry: entry[0] in ENDING):
        for method, operation in item.items():
            shown = {parameter["name"]: parameter for parameter in operation["parameters"]}
            given = {name: rule for name, rule in shown.items() if rule["in"] != "path" and "example" in rule}
            success = "202" if "202" in operation["responses"] else min(operation["responses"])
            content = operation["responses"][success].get("content", {})
            bodies = operation.get("requestBody", {"content": {"": {"examples": {"none": {"value": None}}}}})
            for media, offered in bodies["content"].items():
                for example in offered["examples"].values():
                    yield Example(
                        method.upper(),
                        path,
                        {
                            name: _text(rule["example"])
                            for name, rule in given.items()
                            if rule["in"] == "query"
                        },
                        {name: rule["example"] for name, rule in given.items() if rule["in"] == "header"},
                        media,
                        example["value"],
                        int(success),
                        content.get("application/json", {}).get("schema"),
                    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class Shown:
    """Makes the calls of examples. What an example names, a run, a link, a person, is made first."""

    def __init__(self, front: Front, world: World) -> None:
        self._world = world
        self._client = front.client()
        self._functions = front
        self._merchant = Merchant(pages_of(world))

    def call(self, example: Example) -> TestResponse:
        """Call as the example says. The steps of a browser are taken by one."""
        path = example.path.replace("{tenant}", TENANT).replace("{id}", self._id(example.path))
        if example.path in BROWSED:
            self._world.clock.advance(60)  # Klaviyo shows an account once a second
            return BROWSED[example.path](self._merchant, self._world, example.body)
        body = None if example.body is None else json.dumps(example.body).replace("jane@example.org", EMAIL)
        headers = dict(example.headers)
        if body is not None:
            headers["Content-Type"] = example.media
        return self._client.open(
            path, method=example.method, query_string=dict(example.query), data=body, headers=headers
        )

    def _id(self, path: str) -> str:
        """Return the id of what a path with {id} is about, which is made for it."""
        if "{id}" not in path:
            return ""
        (make,) = (make for start, make in IDS.items() if path.startswith(start))
        return make(self._client, self._world)


def a_run(client: Client, world: World) -> str:
    """Begin a run, in place of one that is under way."""
    end_runs(client, world)
    return str(client.post(f"/{TENANT}/api/v1/resync").get_json()["id"])


def end_runs(client: Client, world: World) -> None:
    """Let no run be under way."""
    run = client.get(f"/{TENANT}/api/v1/status").get_json()["run"]
    if run:
        client.post(f"/{TENANT}/api/v1/resync/{run['id']}/cancel")
    world.clock.advance(61)  # the report is looked up for a minute


def a_dead_job(client: Client, world: World) -> str:
    """Put a job on the desk."""
    job = SyncProfile(tenant=TENANT, accepted_at=world.clock(), profile_id=PROFILE, until=world.clock())
    desk = DeadJobStore.of(world.services)
    because = CannotSucceedError("It cannot.")
    bury(job, world.read(), "It cannot.", because=because, desk=desk, now=datetime.now(UTC))
    return job.id


def a_replay(client: Client, world: World) -> str:
    """Begin a run of replays."""
    return str(client.post(f"/{TENANT}/api/v1/dead-jobs/replay", json={"all": True}).get_json()["id"])


# How what a path names by {id} comes to be, by how the path begins.
IDS: Mapping[str, Callable[[Client, World], str]] = {
    "/{tenant}/api/v1/resync/{id}": a_run,
    "/{tenant}/api/v1/dead-jobs/{id}": a_dead_job,
    "/{tenant}/api/v1/jobs/{id}": a_dead_job,
    "/{tenant}/api/v1/dead-jobs/replays/{id}": a_replay,
    "/{tenant}/api/v1/profiles/{id}": lambda client, world: PROFILE,
}


def begun(merchant: Merchant, world: World, body: Json | None) -> TestResponse:
    """Begin an install, with the key or a link in place of the example's."""
    if body is None:
        return merchant.get("/klaviyo/install")
    if "link" in body:
        return merchant.post("/klaviyo/install", link=InstallLinks.of(world.services).make(TENANT))
    return merchant.post("/klaviyo/install", **{**body, "installation_key": INSTALLATION_KEY})


def confirmed(merchant: Merchant, world: World, body: Json | None) -> TestResponse:
    """Answer the question that comes where two have not been joined."""
    world.services.tenants.change(TENANT, lambda t: t.model_copy(update={"klaviyo_account_id": "OtherAc"}))
    asked = field(merchant.come_back(merchant.begin()), "confirmation")
    if body is None:
        return merchant.get("/klaviyo/confirm", confirmation=asked)
    return merchant.post("/klaviyo/confirm", **{**body, "confirmation": asked})


BROWSED: Mapping[str, Callable[[Merchant, World, Any], TestResponse]] = {
    "/klaviyo/install": begun,
    "/klaviyo/callback": lambda merchant, world, body: merchant.come_back(merchant.begin()),
    "/klaviyo/confirm": confirmed,
    "/klaviyo/done": lambda merchant, world, body: (merchant.install(), merchant.get("/klaviyo/done"))[1],
    "/klaviyo/progress": lambda merchant, world, body: (
        merchant.install(),
        merchant.get("/klaviyo/progress"),
    )[1],
}


def test_anybody_may_read_it(front: Front) -> None:
    answer = front.client().get(PATH)
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.get_json() == DOCUMENT


def test_it_is_read_when_it_is_asked_for_and_not_before(world: World, load: Load) -> None:
    admin = load("admin", world.environment)  # with no tenant, and no store that was ever opened
    assert admin.get(PATH).status_code == 200
    assert admin.post(PATH).status_code == 405
    assert admin.get(PATH + "/").status_code == 404


def test_every_example_is_taken_and_answered_as_it_says(front: Front, world: World) -> None:
    import jsonschema_rs

    shown, wrong = Shown(front, world), list[tuple[object, ...]]()
    for example in examples():
        if example.method == "POST" and re.fullmatch(
            r"/{tenant}/api/v1/(resync|reconcile|repair)", example.path
        ):
            end_runs(front.client(), world)
        answer = shown.call(example)
        if answer.status_code != example.status:
            wrong.append(
                (
                    example.method,
                    example.path,
                    example.body,
                    answer.status_code,
                    answer.get_data(as_text=True)[:300],
                )
            )
        elif example.schema is not None:
            whole = {**example.schema, "components": DOCUMENT["components"]}
            errors = jsonschema_rs.validator_for(whole).iter_errors(answer.get_json())
            wrong += [
                (example.method, example.path, str(error.instance_path), error.message[:200])
                for error in errors
            ]
    assert wrong == []


def never_a_bug(_context: Any, response: Any, _case: Any) -> None:
    """Refuse what is documented, and is never to happen. 503 is another matter: the caller comes again."""
    assert response.status_code != 500


def test_whatever_it_allows_is_answered_as_it_says_and_never_by_a_bug(front: Front, world: World) -> None:
    # Of those that collect or run tests, only who runs this one waits for it.
    import schemathesis
    from schemathesis.checks import CHECKS, load_all_checks
    from schemathesis.core.result import Ok

    load_all_checks()
    judged: list[Any] = [
        CHECKS.get_one(name)
        for name in (
            "status_code_conformance",
            "content_type_conformance",
            "response_schema_conformance",
            "unsupported_method",
        )
    ]
    schema = schemathesis.openapi.from_wsgi(PATH, front)
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert {one.path for one in found} == DOCUMENT["paths"].keys() - {
        PATH
    }  # it does not call what it was read from
    called = 0
    for operation in sorted(found, key=lambda one: one.path in ENDING):

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None, database=None
        )
        def judge(case: "Case[Any]") -> None:
            nonlocal called
            # Of a path with a line break in it the framework says itself that there is none, before any code of ours.
            assume(not any("\n" in unquote(str(value)) for value in case.path_parameters.values()))
            called += 1
            case.path_parameters |= {name: TENANT for name in case.path_parameters if name == "tenant"}
            world.clock.advance(1)  # Klaviyo answers so much a second, and no more
            case.call_and_validate(checks=[*judged, never_a_bug])

        judge()
    assert called >= len(found) * 2
