"""A played Google for the tests of this folder. What is played stands in cloud.py, how scripts are run in gcloud.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.gcp.cloud import Cloud
from tests.deploy.gcp.gcloud import Operator, warm_gcloud
from tests.deploy.gcp.recorder import recording


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a gcloud that has been started already."""
    with warm_gcloud(tmp_path_factory.mktemp("gcloud")) as folder:
        yield folder


@pytest.fixture
def operator(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Iterator[Operator]:
    """An operator in front of an empty project."""
    yield from _operator(tmp_path_factory, programs)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Iterator[Operator]:
    """An operator who has deployed the bundle once; its tests share the project, in the order of the file."""
    for operator in _operator(tmp_path_factory, programs):
        ran = operator.runs("deploy.sh")
        assert ran.status == 0
        yield operator


def _operator(factory: pytest.TempPathFactory, programs: Path) -> Iterator[Operator]:
    cloud = Cloud()
    with recording(cloud) as proxy:
        yield Operator(cloud, proxy, factory.mktemp("operator"), programs)
