"""The guide's commands and bodies do what the pages say: each is run, against the functions and a sandbox Omneo."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from deploy.guide import notifications
from deploy.targets.catalogue import notification, sample
from deploy.targets.catalogue import notifications as notifications_of_the_catalogue
from deploy.targets.commands import targets
from tests.support.loading import Load
from tests.support.markdown import Page
from tests.support.rewards import DEFINITION
from tests.support.world import TENANT, WEBHOOK_SECRET, World, serving

GUIDE = Path(__file__).parents[3] / "deploy/guide"
NOTIFICATIONS, FLOWS = (Page.read(GUIDE / f"{name}.md") for name in ("notifications", "flows"))
EMAIL = "jane@example.org"


def commands(page: Page, start: str) -> list[list[str]]:
    """Return the words of each command of a page's code blocks that begins so."""
    return [shlex.split(code) for code in page.code if code.startswith(start) and "..." not in code]


CALLS = commands(NOTIFICATIONS, "curl ")
RUN = [words[3:] for words in commands(NOTIFICATIONS, "python -m deploy.targets ") if len(words) > 3]


def post(client: FlaskClient, words: list[str]) -> int:
    """Make the call of a curl command, with the tenant's own secret, and return the status."""
    url = urlsplit(next(word for word in words if word.startswith("https://")))
    headers = dict(words[place + 1].split(": ", 1) for place, word in enumerate(words) if word == "-H")
    assert headers["x-omneo-secret"] == "THE WEBHOOK SECRET"
    body = words[words.index("-d") + 1]
    path = f"{url.path}?{url.query}" if url.query else url.path
    given = {**headers, "x-omneo-secret": WEBHOOK_SECRET}
    return client.post(path, data=body.encode(), headers=given).status_code


@pytest.fixture
def at_work(world: World, load: Load) -> Iterator[tuple[FlaskClient, CliRunner]]:
    """Return the targets function, and a runner of commands beside it."""
    world.tenant()
    client = load("targets", world.environment)
    with serving(client.application) as url:
        yield client, CliRunner(env={**world.environment, "EXTENSION_URL": url})


def test_the_sections_are_what_the_catalogue_writes() -> None:
    text = notifications.PAGE.read_text()
    assert notifications.with_sections(text) == text, "run python -m deploy.guide"


def test_a_page_without_a_place_for_the_sections_is_refused() -> None:
    with pytest.raises(ValueError, match="these two lines"):
        notifications.with_sections("# Notifications")


def test_the_pages_have_commands_at_all() -> None:
    assert len(CALLS) > 3
    assert {words[0] for words in RUN} == {"list", "render", "check", "send", "push"}


@pytest.mark.parametrize("words", CALLS, ids=lambda words: urlsplit(words[1]).path[-20:])
def test_each_call_of_a_target_is_accepted(at_work: tuple[FlaskClient, CliRunner], words: list[str]) -> None:
    assert post(at_work[0], words) == (200 if "dryRun" in " ".join(words) else 202)


@pytest.mark.parametrize("words", RUN, ids=" ".join)
def test_each_command_succeeds(
    at_work: tuple[FlaskClient, CliRunner], world: World, words: list[str]
) -> None:
    own = world.sandbox.omneo.profile(TENANT, email=EMAIL)["id"]
    ran = at_work[1].invoke(targets, filled_in(words, own))
    assert ran.exit_code == 0, ran.output


def filled_in(words: list[str], profile: str, what: str = "reward-issued") -> list[str]:
    """Return a command as somebody types it: with their own profile's id and the notification that they want."""
    return [{"ID": profile, "reward-issued": what}.get(word, word) for word in words]


@pytest.mark.parametrize("what", notifications_of_the_catalogue())
def test_the_steps_lead_from_nothing_to_an_event_of_each_notification(
    at_work: tuple[FlaskClient, CliRunner], world: World, what: str
) -> None:
    chosen, context = notification(what), sample(what)
    person = context.get("profile") or context
    own = world.sandbox.omneo.profile(TENANT, id=person["id"], email=EMAIL)["id"]
    steps = [words for words in RUN if words[0] in ("push", "send") and "reward-issued" in words]
    sends = [words for words in steps if words[0] == "send" and "--dry-run" not in words]
    assert (len(steps), steps[-1:]) == (4, sends)
    for words in steps:
        ran = at_work[1].invoke(targets, filled_in(words, own, what))
        assert ran.exit_code == 0, ran.output
        world.work(60)
        assert len(world.events()) == (words in sends)
    # The flow stands now, and it happens once more, to something else.
    if not chosen.trigger:
        world.sandbox.omneo.reaction(
            TENANT, "expiry", f"klaviyo-{what}"
        )  # as the definition calls its target
    again = (
        {**context, "id": 42} if "profile" in context else {**context, "updated_at": "2026-12-24 10:00:00"}
    )
    if what == "points-milestone":
        again["profile"] = {**person, "point_balance": 2000}
    (delivery,) = world.sandbox.omneo.fire(TENANT, chosen.trigger or "expiry", again)
    assert (delivery.status, delivery.error) == (202, "")
    world.work(60)
    assert {event.metric for event in world.events()} == {chosen.metric}
    assert len(world.events()) == 2


def test_the_flows_own_call_issues_one_reward(world: World, load: Load) -> None:
    world.tenant()
    world.sandbox.omneo.profile(TENANT, email=EMAIL)
    world.sandbox.omneo.reward_definition(
        TENANT, id=DEFINITION, handle="birthday", period=30, period_type="days"
    )
    client = load("rewards_webhook", world.environment)
    (words,) = commands(FLOWS, "curl ")
    assert [post(client, words) for _ in range(2)] == [200, 200]
    assert len(world.sandbox.omneo.rewards(TENANT)) == 1


def test_every_step_of_a_page_is_numbered_in_order() -> None:
    for page in (NOTIFICATIONS, FLOWS):
        numbers = [int(found) for found in re.findall(r"^(\d+)\. \*\*", page.text, re.MULTILINE)]
        assert numbers == [*range(1, len(numbers) + 1)]
