"""What is laid for a deployment is what the function needs and nothing else."""

import ast
import compileall
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.local.path_templates import path_matcher
from deploy.staging import (
    REPOSITORY,
    Schedule,
    StagingError,
    load_functions,
    load_routes,
    load_schedules,
    stage,
)
from shared.jobs.jobs import EveryTenant, read_job
from tests.deploy.repositories import a_repository, a_row, write

STAGED = {
    "main.py",
    "requirements.txt",
    "shared/__init__.py",
    "shared/greeting.py",
    "shared/installation/pages/install.html",
}


def tree(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return a_repository(tmp_path / "repository")


def test_a_staged_root_holds_main_shared_and_requirements_and_nothing_else(
    repository: Path, tmp_path: Path
) -> None:
    for stranger in (
        "shared/__pycache__/greeting.cpython-311.pyc",
        "shared/.hidden",
        "shared/installation/pages/.DS_Store",
        "shared/old.pyc",
        "shared/README.md",
        "functions/hello/notes.txt",
        "tests/test_hello.py",
        "README.md",
    ):
        write(repository / stranger, "x")
    root = stage("hello", tmp_path / "staged", repository=repository)
    assert root == tmp_path / "staged"
    assert tree(root) == STAGED
    assert not (root / "shared/__pycache__").exists()
    assert (root / "main.py").read_text() == (repository / "functions/hello/main.py").read_text()


def test_googles_build_installs_from_the_lock_file_so_that_pip_checks_hashes(
    repository: Path, tmp_path: Path
) -> None:
    root = stage("hello", tmp_path / "staged", repository=repository)
    assert (root / "requirements.txt").read_text() == (repository / "deploy/locks/functions.txt").read_text()


def test_a_missing_lock_file_is_reported(repository: Path, tmp_path: Path) -> None:
    (repository / "deploy/locks/functions.txt").unlink()
    with pytest.raises(StagingError, match=r"deploy/locks/functions\.txt is missing; run make lock"):
        stage("hello", tmp_path / "staged", repository=repository)


def test_staging_again_takes_away_what_has_vanished(repository: Path, tmp_path: Path) -> None:
    write(repository / "shared/retired/rules.py", "")
    root = stage("hello", tmp_path / "staged", repository=repository)
    assert tree(root) == STAGED | {"shared/retired/rules.py"}
    (repository / "shared/retired/rules.py").unlink()
    (repository / "shared/retired").rmdir()
    assert compileall.compile_dir(root, quiet=2)
    stage("hello", root, repository=repository)
    assert tree(root) == STAGED
    assert not (root / "shared/retired").exists()


def test_a_staged_function_imports_shared_without_help_from_the_environment(
    repository: Path, tmp_path: Path
) -> None:
    root = stage("hello", tmp_path / "staged", repository=repository)
    program = (
        "import sys; sys.path.append(sys.argv[1]); import main; print(main.GREETING, main.hello.__name__)"
    )
    answer = subprocess.run(
        [sys.executable, "-I", "-c", program, str(root)],
        env={},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "hello hello\n"


def test_an_unknown_function_is_told_which_ones_there_are(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(StagingError, match=r"no function metric; .*: hello, backstage_worker"):
        stage("metric", tmp_path / "staged", repository=repository)
    assert not (tmp_path / "staged").exists()


def test_a_row_without_code_is_reported(repository: Path, tmp_path: Path) -> None:
    (repository / "functions/hello/main.py").unlink()
    with pytest.raises(StagingError, match=r"functions/hello/main\.py is missing"):
        stage("hello", tmp_path / "staged", repository=repository)


def test_a_folder_that_holds_something_else_is_left_alone(repository: Path, tmp_path: Path) -> None:
    write(tmp_path / "home/letter.txt", "dear")
    write(tmp_path / "home/main.py", "mine")
    with pytest.raises(StagingError, match=r"not a staged source root, it holds letter\.txt"):
        stage("hello", tmp_path / "home", repository=repository)
    assert tree(tmp_path / "home") == {"letter.txt", "main.py"}


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ({"hello": a_row(entry_point="hello", concurency=4)}, "concurency"),
        ({"hello": a_row(entry_point="hello", memory="512")}, "memory"),
        ({"hello": a_row()}, "entry_point"),
        ({"Hello!": a_row(entry_point="hello")}, "name"),
        ({"hello": None}, "hello"),
        (["hello"], "valid dict"),
    ],
)
def test_a_wrong_row_is_reported_by_its_field(repository: Path, rows: object, complaint: str) -> None:
    write(repository / "deploy/gcp/functions.yaml", yaml.safe_dump(rows))
    with pytest.raises(StagingError, match=complaint):
        load_functions(repository)


def test_a_file_that_is_no_yaml_is_reported(repository: Path) -> None:
    write(repository / "deploy/gcp/functions.yaml", "hello: [")
    with pytest.raises(StagingError, match=r"functions\.yaml cannot be read"):
        load_functions(repository)


@pytest.mark.parametrize("function", ["backstage_worker", "nobody"])
def test_a_path_may_lead_only_to_a_public_function(repository: Path, function: str) -> None:
    write(repository / "deploy/gcp/routes.yaml", yaml.safe_dump([{"path": "/x", "function": function}]))
    with pytest.raises(StagingError, match=f"/x leads to {function}, .* those are: hello"):
        load_routes(repository)


def test_every_folder_below_functions_has_its_row() -> None:
    folders = {path.name for path in (REPOSITORY / "functions").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == set(load_functions())


def test_every_public_function_has_a_path_and_every_path_is_a_template() -> None:
    routes = load_routes()
    assert {route.function for route in routes} == {f.name for f in load_functions().values() if f.public}
    for route in routes:
        path_matcher(route.path)


def test_concurrency_above_one_has_a_whole_processor() -> None:
    assert all(function.cpu >= 1 for function in load_functions().values() if function.concurrency > 1)


def test_only_what_calls_klaviyo_holds_the_apps_secret() -> None:
    holders = {f.name for f in load_functions().values() if "KLAVIYO_CLIENT_SECRET" in f.variables}
    assert holders == {"admin", "inbound_worker", "install", "outbound_worker"}


def test_no_secret_is_given_as_a_plain_variable() -> None:
    for function in load_functions().values():
        assert not {name for name in function.env if "SECRET" in name or "KEY" in name}


class TestSchedules:
    def test_each_is_read_by_its_jobs_kind(self, repository: Path) -> None:
        assert load_schedules(repository) == {"greet": Schedule(every=5, function="backstage_worker")}

    @pytest.mark.parametrize(
        ("rows", "complaint"),
        [
            ({"greet": {"every": 0, "function": "backstage_worker"}}, "every"),
            ({"greet": {"every": 1441, "function": "backstage_worker"}}, "every"),
            ({"greet": {"every": "often", "function": "backstage_worker"}}, "every"),
            ({"greet": {"every": 5}}, "function"),
            ({"greet": {"every": 5, "function": "backstage_worker", "at": "noon"}}, "at"),
            ({"greet": {"every": 5, "function": "hello"}}, "greet is sent to hello, which is no worker"),
            ({"greet": {"every": 5, "function": "nobody"}}, "greet is sent to nobody, which is no worker"),
            (["greet"], "valid dict"),
        ],
    )
    def test_a_wrong_row_is_reported_by_its_field(
        self, repository: Path, rows: object, complaint: str
    ) -> None:
        write(repository / "deploy/gcp/schedules.yaml", yaml.safe_dump(rows))
        with pytest.raises(StagingError, match=complaint):
            load_schedules(repository)

    def test_a_file_that_is_missing_is_reported(self, repository: Path) -> None:
        (repository / "deploy/gcp/schedules.yaml").unlink()
        with pytest.raises(StagingError, match=r"schedules\.yaml cannot be read"):
            load_schedules(repository)

    def test_what_runs_by_the_clock_is_a_job_that_the_worker_knows(self) -> None:
        for name, row in load_schedules().items():
            body = f'{{"kind": "every-tenant", "run": "{name}"}}'.encode()
            assert isinstance(read_job(body), EveryTenant)
            assert row.function == "inbound_worker"
            assert 60 % row.every == 0 or 1440 % row.every == 0

    def test_inboxes_are_swept_every_five_minutes(self) -> None:
        assert load_schedules()["sweep-inbox"].every == 5


@pytest.mark.parametrize("name", ["system_webhooks", "inbound_worker"])
def test_what_brings_consent_in_is_staged_whole(name: str, tmp_path: Path) -> None:
    root = stage(name, tmp_path / "staged")
    assert (root / "main.py").read_text() == (REPOSITORY / f"functions/{name}/main.py").read_text()
    assert {
        "shared/consent/rules/decisions.py",
        "shared/worker/schedule.py",
        "shared/jobs/queues.toml",
    } <= tree(root)
    defined = [
        node.name
        for node in ast.parse((root / "main.py").read_text()).body
        if isinstance(node, ast.FunctionDef)
    ]
    assert defined == [load_functions()[name].entry_point]


def test_klaviyo_finds_the_webhooks_door_open_within_its_five_seconds() -> None:
    door = load_functions()["system_webhooks"]
    assert door.min_instances >= 1
    assert "KLAVIYO_CLIENT_SECRET" not in door.variables


def test_only_the_door_is_public() -> None:
    functions = load_functions()
    assert functions["system_webhooks"].public
    assert not functions["inbound_worker"].public
    assert functions["inbound_worker"].timeout == 300
