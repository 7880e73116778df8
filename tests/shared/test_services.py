"""An instance that is kept warm has its clients before its first call. A process that is no instance of Cloud Run builds nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.staging import load_functions
from tests.support.world import World

_STARTED = """
import gc
import main
from pydantic import BaseModel

def models(kind):
    return [kind, *(model for below in kind.__subclasses__() for model in models(below))]

print(gc.get_threshold()[0], *(kind.__name__ for kind in models(BaseModel)[1:] if kind.__pydantic_complete__))
"""
_FORKED = """
import os, sys
from shared.services import Services
from shared.settings import Needs

services = Services.from_environment(Needs.STORE | Needs.OUTBOUND)
before = sorted(services.__dict__.keys() & {"documents", "_cloud_tasks"})
child = os.fork()
if child == 0:
    print(before, sorted(services.__dict__.keys() & {"documents", "_cloud_tasks"}))
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
"""


REPOSITORY = Path(__file__).parents[2]


def told(script: str, environment: dict[str, str], *places: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, *places)))},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize("function", sorted(load_functions()))
def test_a_start_builds_no_model_and_seldom_looks_for_garbage(function: str, world: World) -> None:
    assert told(_STARTED, world.environment, REPOSITORY / "functions" / function) == "100000"


@pytest.mark.parametrize(
    ("on_cloud_run", "built"),
    [({"K_SERVICE": "targets"}, "[] ['_cloud_tasks', 'documents']"), ({}, "[] []")],
    ids=["on Cloud Run", "elsewhere"],
)
def test_the_copy_that_takes_calls_is_warm_on_cloud_run(
    world: World, on_cloud_run: dict[str, str], built: str
) -> None:
    assert told(_FORKED, {**world.environment, **on_cloud_run}) == built


def test_what_does_not_answer_does_not_stop_the_start(world: World) -> None:
    nobody = {"CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:9", "K_SERVICE": "targets"}
    assert told(_FORKED, {**world.environment, **nobody}) == "[] ['_cloud_tasks', 'documents']"


def test_where_there_are_no_credentials_the_first_call_says_so_and_no_thread_before(world: World) -> None:
    without = {
        "STORE": "firestore",
        "GOOGLE_CLOUD_PROJECT": "nobodys",
        "K_SERVICE": "targets",
        "NO_GCE_CHECK": "true",
        "HOME": "/nowhere",
        "CLOUDSDK_CONFIG": "/nowhere",
    }
    assert told(_FORKED, {**world.environment, **without}) == "[] ['_cloud_tasks']"
