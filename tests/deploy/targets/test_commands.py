"""`python -m deploy.targets`: what each command prints, changes and refuses, against the extension and a sandbox Omneo."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deploy.targets.catalogue import notifications, platforms, sample, template
from deploy.targets.commands import targets
from tests.support.loading import Load
from tests.support.world import EMAIL, TENANT, WEBHOOK_SECRET, World, serving

REPOSITORY = Path(__file__).parents[3]
Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Run a command without an environment."""
    return lambda *args, **kwargs: CliRunner().invoke(targets, args, **kwargs)


@pytest.fixture
def at_work(world: World, load: Load) -> Iterator[Run]:
    """Run a command beside the extension, whose targets function is served, with an installed tenant."""
    world.tenant()
    function = load("targets", world.environment)
    with serving(function.application) as url:
        environment = {**world.environment, "EXTENSION_URL": url}
        yield lambda *args, **kwargs: CliRunner(env=environment).invoke(targets, args, **kwargs)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, Any], str]:
    """Write a file, text as it is and anything else as JSON, and return its path."""

    def write(name: str, content: Any) -> str:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return str(path)

    return write


# list and render


def test_list_names_every_platform_and_notification(run: Run) -> None:
    shown = run("list")
    assert shown.exit_code == 0
    first = [line.split("\t")[0] for line in shown.stdout.splitlines()]
    assert first == [*platforms(), *notifications()]


def test_render_prints_the_json_alone(run: Run) -> None:
    shown = run("render", "klaviyo", "reward-issued")
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["data"]["attributes"]["unique_id"] == "reward-issued-41"
    assert shown.stderr == ""


def test_render_takes_a_context_of_ones_own(run: Run, file: Callable[[str, Any], str]) -> None:
    event = sample("reward-issued") | {"id": 4242}
    shown = run("render", "klaviyo", "reward-issued", "--context", file("event.json", event))
    assert json.loads(shown.stdout)["data"]["attributes"]["unique_id"] == "reward-issued-4242"


def test_render_says_where_omneo_would_not_call(run: Run, file: Callable[[str, Any], str]) -> None:
    event = sample("reward-issued")
    event["profile"]["attributes"]["comms"]["email_optout"] = True
    shown = run("render", "klaviyo", "reward-issued", "--context", file("event.json", event))
    assert shown.exit_code == 0
    json.loads(shown.stdout)
    assert "would not call" in shown.stderr


def test_render_takes_a_real_profile(at_work: Run, world: World) -> None:
    id = world.sandbox.omneo.profile(TENANT, email=EMAIL, first_name="Ann")["id"]
    shown = at_work("render", "klaviyo", "reward-issued", "--tenant", TENANT, "--profile", id)
    assert shown.exit_code == 0, shown.stderr
    attributes = json.loads(shown.stdout)["data"]["attributes"]
    assert attributes["profile"]["data"]["attributes"] == {"email": EMAIL, "external_id": id}
    assert attributes["properties"]["first_name"] == "Ann"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("render", "nowhere", "reward-issued"), "There is no platform nowhere. There are: braze"),
        (("render", "klaviyo", "nothing"), "There is no notification nothing. There are: reward-issued"),
        (("render", "klaviyo", "reward-issued", "--profile", "x"), "--tenant"),
        (("send", "braze", "reward-issued"), "--url, as in https://rest.REGION.braze.com"),
        (("send", "klaviyo", "reward-issued"), "--tenant"),
        (
            ("send", "braze", "reward-issued", "--dry-run", "--url", "http://127.0.0.1:1"),
            "Only the extension",
        ),
        (("send", "braze", "reward-issued", "--url", "http://127.0.0.1:1"), "No answer came"),
        (("send", "braze", "reward-issued", "--url", "file:///etc/passwd"), "https://"),
        (("send", "braze", "reward-issued", "--url", "http://127.0.0.1:1"), "Connection refused"),
        (("send", "braze", "reward-issued", "--url", "http://127.0.0.1:1/a b"), "not as HTTP wants it"),
        (("check", "nowhere.twig"), "nowhere.twig"),
    ],
)
def test_what_cannot_be_done_is_said(run: Run, args: tuple[str, ...], says: str) -> None:
    shown = run(*args)
    assert shown.exit_code in (1, 2)
    assert says in shown.stderr
    assert "Traceback" not in shown.stderr


def test_render_refuses_what_is_no_event_context(run: Run, file: Callable[[str, Any], str]) -> None:
    for content, says in (("[1]", "must be an object"), ("{", "is no JSON")):
        shown = run("render", "klaviyo", "reward-issued", "--context", file("event.json", content))
        assert (shown.exit_code, says in shown.stderr) == (1, True)


def test_a_file_that_is_no_text_is_named(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.json.twig"
    path.write_bytes(b'{"a": "\xff"}')
    for args in (
        ("check", str(path)),
        ("render", "klaviyo", "reward-issued", "--template", str(path)),
        ("render", "klaviyo", "reward-issued", "--context", str(path)),
    ):
        shown = run(*args)
        assert (shown.exit_code, "is no text in UTF-8: see its byte 8" in shown.stderr) == (1, True)


def test_a_context_that_is_nested_too_deeply_is_refused(run: Run, file: Callable[[str, Any], str]) -> None:
    deep = file("event.json", "[" * 200_000)
    shown = run("render", "klaviyo", "reward-issued", "--context", deep)
    assert (shown.exit_code, "nested too deeply" in shown.stderr) == (1, True)


# check


@pytest.mark.parametrize("what", notifications())
@pytest.mark.parametrize("where", platforms())
def test_check_finds_the_catalogue_right(run: Run, where: str, what: str) -> None:
    path = f"deploy/targets/{where}/{what}.json.twig"
    shown = run("check", str(REPOSITORY / path), "--platform", where)
    assert shown.exit_code == 0, shown.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{\n  "amount": {{ reward.amount }}, "points": 1\n}', "line 2, column 13 of what is rendered"),
        (
            '{\n  "name": {{ profile.name|jsonencode }}\n}',
            ':2:27: The filter "jsonencode" is not supported. (line 2',
        ),
        ('{"a": "{% if b %}x"}', 'The tag "if" is not closed.'),
        ('{"name": "{{ "a\\"b" }}"}', "column"),
    ],
)
def test_check_fails_with_line_and_reason(
    run: Run, file: Callable[[str, Any], str], text: str, says: str
) -> None:
    shown = run("check", file("mine.json.twig", text))
    assert shown.exit_code == 1
    assert says in shown.stderr


def test_check_tries_the_contexts_that_it_is_given(run: Run, file: Callable[[str, Any], str]) -> None:
    text = file("mine.json.twig", '{"amount": {{ reward.amount }}}')
    full = file("full.json", {"reward": {"amount": 20}})
    empty = file("empty.json", {})
    assert run("check", text, "--context", full).exit_code == 0
    both = run("check", text, "--context", full, "--context", empty)
    assert both.exit_code == 1
    assert "with empty.json" in both.stderr


def test_check_takes_the_sample_of_a_notification(run: Run, file: Callable[[str, Any], str]) -> None:
    text = file("mine.json.twig", '{"amount": {{ value_initial }}}')
    assert run("check", text).exit_code == 1
    assert run("check", text, "--notification", "reward-issued").exit_code == 0
    assert run("check", text, "--notification", "nothing").exit_code == 1


def test_check_names_what_a_platform_would_not_take(run: Run, file: Callable[[str, Any], str]) -> None:
    text = file("mine.json.twig", '{"events": [{"name": "x", "canary": 1}]}')
    shown = run("check", text, "--platform", "braze")
    assert shown.exit_code == 1
    assert "events.0.external_id" in shown.stderr
    assert run("check", text, "--platform", "nowhere").exit_code == 1


def test_it_runs_as_a_module() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "deploy.targets", "render", "braze", "id-token"],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        timeout=60,
    )
    assert json.loads(ran.stdout)["events"]


def test_what_is_likely_to_go_wrong_is_told_and_fails_nothing(
    run: Run, file: Callable[[str, Any], str]
) -> None:
    balance = "profile.reward_balance|default(0)|number_format(2, '.', '')"
    text = template("klaviyo", "reward-issued").replace(f"{balance} + 0", balance)
    path = file("reward-issued.json.twig", text)
    for shown in (
        run("check", path, "--platform", "klaviyo"),
        run("render", "klaviyo", "reward-issued", "--template", path),
    ):
        assert (shown.exit_code, shown.stderr.count("Warning, ")) == (0, 1)
        assert "Warning, reward_balance: reward_balance is a number as text" in shown.stderr
    assert "Warning" not in run("check", path).stderr  # for which platform it is meant is not known


# send


def test_send_signs_as_omneo_does_and_shows_the_answer(at_work: Run, world: World) -> None:
    shown = at_work("send", "klaviyo", "reward-issued", "--tenant", TENANT)
    assert shown.exit_code == 0, shown.stderr
    assert json.loads(shown.stdout)["status"] == "queued"
    assert "Answer: 202\n" in shown.stderr
    world.work(60)
    (event,) = world.events()
    assert (event.metric, event.unique_id) == ("Omneo Reward Issued", "reward-issued-41")


def test_send_of_a_sign_in_link_asks_for_a_token(at_work: Run, world: World) -> None:
    id = sample("id-token")["id"]
    world.sandbox.omneo.profile(TENANT, id=id, email=EMAIL)
    shown = at_work("send", "klaviyo", "id-token", "--tenant", TENANT, "--profile", id)
    assert shown.exit_code == 0, shown.stderr
    world.work(60)
    (event,) = world.events()
    assert "IDToken" in event.properties


def test_send_can_be_a_dry_run(at_work: Run, world: World) -> None:
    for what in notifications():
        shown = at_work("send", "klaviyo", what, "--tenant", TENANT, "--dry-run")
        assert shown.exit_code == 0, shown.stderr
        told = json.loads(shown.stdout)
        assert told["status"] == "dry_run"
        assert told["notes"] == []
        assert told["to"]["email"] == "jane@example.org"
    world.work(60)
    assert world.events() == []


def test_send_takes_a_header_from_standard_input(at_work: Run, world: World) -> None:
    url = at_work("send", "klaviyo", "reward-issued", "--tenant", TENANT, "--dry-run")
    assert url.exit_code == 0
    shown = at_work(
        "send", "klaviyo", "reward-issued", "--url", _address(world), "--header", "x-omneo-secret", input=""
    )
    assert (shown.exit_code, "standard input" in shown.stderr) == (1, True)


def test_no_value_of_a_header_is_told_where_it_cannot_be_sent(run: Run) -> None:
    args = ("send", "braze", "reward-issued", "--url", "http://127.0.0.1:1", "--header", "Authorization")
    shown = run(*args, input="canary-\N{SNOWMAN}\n")
    assert (shown.exit_code, "header's name or value" in shown.stderr) == (1, True)
    assert "canary" not in shown.output


def _address(world: World) -> str:
    return f"{world.environment['EXTENSION_URL']}/{TENANT}/api/v1/targets/klaviyo/metric"


def test_send_posts_to_the_address_that_is_named_and_fails_if_it_is_refused(world: World, load: Load) -> None:
    world.tenant()
    with serving(load("targets", world.environment).application) as url:
        args = ["send", "klaviyo", "reward-issued", "--url", f"{url}/{TENANT}/api/v1/targets/klaviyo/metric"]
        refused = CliRunner().invoke(targets, args)
        assert (refused.exit_code, "Answer: 401\n" in refused.stderr) == (1, True)
        sent = CliRunner().invoke(targets, [*args, "--header", "x-omneo-secret"], input=f"{WEBHOOK_SECRET}\n")
        assert sent.exit_code == 0, sent.output
        assert WEBHOOK_SECRET not in sent.output


# push


def rows(world: World) -> tuple[list[Any], list[Any]]:
    """Return what Omneo holds."""
    tenant = world.sandbox.omneo._tenants[TENANT]
    return tenant.targets.all(), tenant.triggers.all()


def test_push_makes_target_condition_and_reaction_and_an_event_then_arrives(
    at_work: Run, world: World
) -> None:
    shown = at_work("push", TENANT, "klaviyo", "reward-issued")
    assert shown.exit_code == 0, shown.stderr
    assert "+  reward.created" in shown.stdout
    ((target,), (trigger,)) = rows(world)
    assert target["handle"] == "klaviyo-reward-issued"
    assert target["template"] == template("klaviyo", "reward-issued")
    assert [action["name"] for action in trigger["actions"]] == ["filter", "target.send"]
    (delivery,) = world.sandbox.omneo.fire(TENANT, "reward.created", sample("reward-issued"))
    assert (delivery.status, delivery.error) == (202, "")
    world.work(60)
    (event,) = world.events()
    assert event.properties["reward_amount"] == 20


def test_push_again_changes_nothing(at_work: Run, world: World) -> None:
    at_work("push", TENANT, "klaviyo", "reward-issued")
    before = rows(world)
    world.clock.advance(60)
    shown = at_work("push", TENANT, "klaviyo", "reward-issued")
    assert shown.stdout.count("nothing differs") == 2
    assert rows(world) == before


def test_push_as_a_dry_run_shows_the_difference_and_changes_nothing(at_work: Run, world: World) -> None:
    shown = at_work("push", TENANT, "klaviyo", "reward-issued", "--dry-run")
    assert shown.exit_code == 0
    assert "+  klaviyo-reward-issued" in shown.stdout
    assert rows(world) == ([], [])


def test_push_puts_right_what_differs_and_leaves_the_name_and_whether_it_is_on(
    at_work: Run, world: World
) -> None:
    at_work("push", TENANT, "klaviyo", "reward-issued")
    tenant = world.sandbox.omneo._tenants[TENANT]
    (target,), (trigger,) = rows(world)
    condition = json.dumps(json.loads(target["condition"]), indent=4)
    tenant.targets.update(target, {"template": "{}", "name": "Ours", "condition": condition})
    tenant.triggers.update(trigger, {"is_active": False})
    shown = at_work("push", TENANT, "klaviyo", "reward-issued")
    assert "-  {}" in shown.stdout
    (target,), (trigger,) = rows(world)
    assert target["template"] == template("klaviyo", "reward-issued")
    assert (target["name"], trigger["is_active"], target["condition"]) == ("Ours", False, condition)


def test_push_warns_of_a_second_reaction_and_keeps_to_its_own(at_work: Run, world: World) -> None:
    at_work("push", TENANT, "klaviyo", "reward-issued")
    tenant = world.sandbox.omneo._tenants[TENANT]
    _, (ours,) = rows(world)
    other = {**ours, "name": "By hand", "trigger": "profile.created"}
    tenant.triggers.update(ours, {"trigger": "reward.created"})
    tenant.triggers.create({name: other[name] for name in ("name", "trigger", "is_active", "actions")})
    shown = at_work("push", TENANT, "klaviyo", "reward-issued")
    assert shown.exit_code == 0
    assert "2 reactions call klaviyo-reward-issued, and each of them sends" in shown.stderr
    assert "By hand" in shown.stderr
    assert shown.stdout.count("nothing differs") == 2


def test_push_of_what_no_reaction_starts_says_what_does(at_work: Run, world: World) -> None:
    shown = at_work("push", TENANT, "klaviyo", "reward-expiring")
    assert shown.exit_code == 0
    assert "14 days before" in shown.stderr
    assert "klaviyo-reward-expiring" in shown.stderr
    targets_, triggers = rows(world)
    assert (len(targets_), triggers) == (1, [])


def test_push_wants_filled_in_what_is_the_merchants(
    at_work: Run, world: World, file: Callable[[str, Any], str]
) -> None:
    args = ("push", TENANT, "dotdigital", "reward-issued", "--url", "https://r1-api.dotdigital.com/v2/x")
    refused = at_work(*args)
    assert (refused.exit_code, "campaign = 123456" in refused.stderr) == (1, True)
    mine = file("mine.twig", template("dotdigital", "reward-issued").replace("123456", "77"))
    assert at_work(*args, "--template", mine).exit_code == 0
    (target,), _ = rows(world)
    assert "campaign = 77" in target["template"]
    placeholder = at_work(
        "push", TENANT, "braze", "reward-issued", "--url", "https://rest.REGION.braze.com/x"
    )
    assert (placeholder.exit_code, "REGION" in placeholder.stderr) == (1, True)


def test_push_says_of_an_omneo_that_does_not_answer(at_work: Run, world: World) -> None:
    world.sandbox.omneo.faults.fail(next=9, status=500)
    shown = at_work("push", TENANT, "klaviyo", "reward-issued")
    assert shown.exit_code == 1
    assert "Omneo" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_push_into_no_tenant_is_refused(at_work: Run) -> None:
    shown = at_work("push", "nobody", "klaviyo", "reward-issued")
    assert (shown.exit_code, "no such tenant" in shown.stderr) == (1, True)
