"""An instance that is kept warm has its clients before its first call. A process that is no instance of Cloud Run builds nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.world import World

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


def forked(environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _FORKED],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("on_cloud_run", "built"),
    [({"K_SERVICE": "targets"}, "[] ['_cloud_tasks', 'documents']"), ({}, "[] []")],
    ids=["on Cloud Run", "elsewhere"],
)
def test_the_copy_that_takes_calls_is_warm_on_cloud_run(
    world: World, on_cloud_run: dict[str, str], built: str
) -> None:
    assert (
        forked({**world.environment, **on_cloud_run, "PYTHONPATH": str(Path(__file__).parents[2])}) == built
    )


def test_what_does_not_answer_does_not_stop_the_start(world: World) -> None:
    nobody = {"CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:9", "K_SERVICE": "targets"}
    told = forked({**world.environment, **nobody, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert told == "[] ['_cloud_tasks', 'documents']"


def test_where_there_are_no_credentials_the_first_call_says_so_and_no_thread_before(world: World) -> None:
    without = {
        "STORE": "firestore",
        "GOOGLE_CLOUD_PROJECT": "nobodys",
        "K_SERVICE": "targets",
        "NO_GCE_CHECK": "true",
        "HOME": "/nowhere",
        "CLOUDSDK_CONFIG": "/nowhere",
    }
    told = forked({**world.environment, **without, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert told == "[] ['_cloud_tasks']"
