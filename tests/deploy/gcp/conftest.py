"""A played Google for the tests of this folder. What is played stands in cloud.py, how scripts are run in gcloud.py."""

from collections.abc import Iterator

import pytest

from tests.deploy.gcp.cloud import Cloud
from tests.deploy.gcp.gcloud import Operator, needed
from tests.deploy.gcp.recorder import recording


@pytest.fixture
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """An operator in front of an empty project."""
    yield from _operator(tmp_path_factory)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """An operator who has deployed the bundle once; its tests share the project, in the order of the file."""
    for operator in _operator(tmp_path_factory):
        ran = operator.runs("deploy.sh")
        assert ran.status == 0
        yield operator


def _operator(factory: pytest.TempPathFactory) -> Iterator[Operator]:
    needed("gcloud")
    cloud = Cloud()
    with recording(cloud) as proxy:
        yield Operator(cloud, proxy, factory.mktemp("operator"))
