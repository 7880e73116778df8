"""Paths that lead nowhere: whichever function is asked, and however odd the path is, the answer is the extension's own."""

import io

import pytest

from deploy.staging import load_functions
from tests.support.loading import Load
from tests.support.world import World

PATHS = [
    "/",
    "/robots.txt",
    "/favicon.ico",
    "/canary%0Aco/api/v1/settings",
    "/canary/api/v1/targets/klaviyo/met%0Dric%0A",
    "/%F0%9F%8E%81/%00/%E2%80%A8",
]


@pytest.mark.parametrize("name", sorted(load_functions()))
def test_a_path_that_leads_nowhere_is_404_in_json_for_every_function_and_method(
    name: str, world: World, load: Load
) -> None:
    given = load_functions()[name].variables
    client = load(name, {key: text for key, text in world.environment.items() if key in given})
    for path in PATHS:
        for method in ("GET", "POST", "DELETE"):
            answer = client.open(path, method=method)
            assert answer.status_code == 404, (method, path)
            assert answer.get_json()["error"]["code"] == "not_found", (method, path)
            assert "canary" not in answer.get_data(as_text=True)


class HalfSent(io.RawIOBase):
    """A body whose end never comes: whoever reads it waits."""

    reads = 0

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: object) -> int:
        self.reads += 1
        return 0


@pytest.mark.parametrize("name", sorted(load_functions()))
def test_no_body_is_waited_for_where_nobody_reads_it(name: str, world: World, load: Load) -> None:
    given = load_functions()[name].variables
    client = load(name, {key: text for key, text in world.environment.items() if key in given})
    for path in [*PATHS, "//double//slash"]:
        body = HalfSent()
        sent = {"wsgi.input": body, "CONTENT_LENGTH": "10"}
        answer = client.open(path, method="POST", environ_overrides=sent)
        assert answer.status_code in {404, 308}, path
        assert body.reads == 0, path
