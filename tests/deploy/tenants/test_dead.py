"""`dead list|show|replay`, as an operator runs them: on the store that the functions use, beside a worker."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.consent.ledger import new_ledger_key
from shared.jobs.jobs import SendMetric
from shared.metrics.metrics import accept_metric
from tests.support.commands import Done, run_command
from tests.support.desk import FORBIDDEN, INVALID
from tests.support.world import EMAIL, TENANT, World

EVENTS = "POST /api/events"


@pytest.fixture(autouse=True)
def _installed(world: World) -> None:
    world.live()
    world.tenant(ledger_key=new_ledger_key())


def die(world: World, *, metric: str = "Seen", status: int = 400, body: object = INVALID) -> SendMetric:
    """Accept a metric, and let Klaviyo refuse it."""
    world.sandbox.klaviyo.fail(1, match=EVENTS, status=status, body=body)
    services = world.services
    job = accept_metric(
        world.read(),
        {"profile": {"id": "01CUSTOMER", "email": EMAIL}, "shoes": "canary-red"},
        metric_name=metric,
        with_token=False,
        queue=services.queue,
        now=world.clock(),
        new_id=services.new_id,
        traceparent="",
    )
    world.work()
    return job


def dead(world: World, *words: str, given: str = "") -> Done:
    """Run `dead`, and see that it shows nothing personal unless it was asked to."""
    done = run_command("dead", *words, environment=world.environment, given=given)
    assert "Traceback" not in done.err
    assert "--reveal" in words or "canary" not in done.out + done.err
    return done


def rows(done: Done) -> list[Any]:
    found: list[Any] = json.loads(done.out)["dead_jobs"]
    return found


def test_the_list_says_which_why_and_what_to_do(world: World) -> None:
    job = die(world)
    done = dead(world, "list", TENANT)
    (line,) = done.out.splitlines()
    id, kind, _, deaths, reason, what_to_do = line.split("\t")
    assert (done.status, id, kind, deaths) == (0, job.id, "send-metric (Seen)", "1")
    assert reason.startswith("Klaviyo answered 400")
    assert f"dead replay {TENANT} {job.id}" in what_to_do


def test_what_one_cause_holds_is_one_line(world: World) -> None:
    for _ in range(3):
        die(world, status=403, body=FORBIDDEN)
    (line,) = dead(world, "list", TENANT).out.splitlines()
    assert line.split("\t")[:2] == ["scope", "3"]
    assert len(rows(dead(world, "list", TENANT, "--cause", "scope", "--json"))) == 3


def test_the_newest_stands_first_and_filters_choose(world: World) -> None:
    jobs = []
    for metric in ("Seen", "Bought", "Left"):
        jobs.append(die(world, metric=metric))
        world.clock.advance(60)
    assert [row["id"] for row in rows(dead(world, "list", TENANT, "--json"))] == [
        job.id for job in jobs[::-1]
    ]
    assert [row["metric"] for row in rows(dead(world, "list", TENANT, "--metric", "Left", "--json"))] == [
        "Left"
    ]
    assert rows(dead(world, "list", TENANT, "--until", "2020-01-01", "--json")) == []


def test_a_person_is_found_by_an_id_or_by_an_address_that_is_no_argument(world: World) -> None:
    job = die(world)
    for words, given in ((("--profile", "01CUSTOMER"), ""), (("--profile", "-"), f"{EMAIL}\n")):
        assert [row["id"] for row in rows(dead(world, "list", TENANT, *words, "--json", given=given))] == [
            job.id
        ]
    assert (
        rows(dead(world, "list", TENANT, "--profile", "-", "--json", given="canary-no@example.org\n")) == []
    )
    refused = dead(world, "list", TENANT, "--profile", EMAIL)
    assert (refused.status, refused.out) == (2, "")
    assert "--profile -" in refused.err


def test_where_nothing_died_that_is_said(world: World) -> None:
    assert dead(world, "list", TENANT) == Done(0, "", "No job was given up.\n")
    assert dead(world, "list", TENANT, "--metric", "Seen").err == "There is no dead job like that.\n"


def test_one_is_shown_masked_and_revealed_on_demand(world: World) -> None:
    job = die(world)
    masked = json.loads(dead(world, "show", TENANT, job.id).out)
    assert masked["body"]["event"]["properties"] == {"shoes": "<text>"}
    revealed = dead(world, "show", TENANT, job.id, "--reveal")
    assert json.loads(revealed.out)["body"]["event"] == job.event
    assert revealed.err == "Personal values are shown.\n"


def test_one_is_replayed_and_arrives_once(world: World) -> None:
    job = die(world)
    done = dead(world, "replay", TENANT, job.id)
    assert done == Done(
        0, f"Job {job.id} is queued again. It stands on the desk until it has succeeded.\n", ""
    )
    world.live()
    for _ in range(3):
        world.work(30)
    assert len(world.events()) == 1
    assert rows(dead(world, "list", TENANT, "--json")) == []


def test_all_are_replayed_while_the_operator_watches(world: World) -> None:
    for _ in range(3):
        die(world)
    with ThreadPoolExecutor(1) as threads:
        watching = threads.submit(dead, world, "replay", TENANT, "--all")
        while not watching.done():
            world.live()
            world.work()
    done = watching.result()
    assert done.status == 0
    assert ": 3 replayed;" in done.out
    for _ in range(3):
        world.work(30)
    assert len(world.events()) == 3


def test_a_filter_replays_what_it_means_and_nothing_else(world: World) -> None:
    die(world, metric="Seen")
    other = die(world, metric="Bought")
    told = json.loads(dead(world, "replay", TENANT, "--metric", "Seen", "--no-wait", "--json").out)
    assert (told["state"], told["filters"]) == ("running", {"metric": "Seen"})
    world.live()
    for _ in range(3):
        world.work(30)
    assert [row["id"] for row in rows(dead(world, "list", TENANT, "--json"))] == [other.id]


@pytest.mark.parametrize(
    "words",
    [(), ("--all", "--kind", "send-metric"), ("ID", "--all"), ("ID", "--cause", "scope"), ("ID", "MORE")],
    ids=str,
)
def test_a_replay_says_exactly_which(world: World, words: tuple[str, ...]) -> None:
    die(world)
    done = dead(world, "replay", TENANT, *words)
    assert (done.status, done.out) == (2, "")
    world.work(30)
    assert world.events() == []


@pytest.mark.parametrize(
    "words",
    [("--kinds", "send-metric"), ("--kind", "send-metrics"), ("--cause", "plans"), ("--since", "yesterday")],
    ids=str,
)
def test_a_misspelt_filter_replays_nothing(world: World, words: tuple[str, ...]) -> None:
    die(world)
    done = dead(world, "replay", TENANT, *words)
    assert (done.status, done.out) == (2, "")
    world.work(30)
    assert world.events() == []


@pytest.mark.parametrize(
    "command", [("show", TENANT, "nobody"), ("replay", TENANT, "nobody"), ("list", "nobody")]
)
def test_what_is_not_there_is_said(world: World, command: tuple[str, ...]) -> None:
    done = dead(world, *command)
    assert (done.status, done.out) == (1, "")
    assert "There is no such" in done.err
