"""An id in a path: it names one thing below the path, or nothing, and never something beside or above."""

from pathlib import Path

import pytest
from requests import PreparedRequest

from shared.errors import NotFoundError
from shared.http.paths import path_segment
from tests.support.world import World

CLIENTS = [*Path("shared/klaviyo").rglob("*.py"), *Path("shared/omneo").rglob("*.py")]


@pytest.mark.parametrize("id", ["", ".", "..", "\ud800"])
def test_a_step_within_the_path_names_nothing(id: str) -> None:
    with pytest.raises(NotFoundError):
        path_segment(id, service="Omneo")


@pytest.mark.parametrize(
    "id", ["a/b", "../x", "%2e%2e", "..%2f", "a?b#c", "é", "...", " ", "%", "\\..\\", "a\nb", 6]
)
def test_any_other_id_stays_one_segment_on_the_wire(id: object) -> None:
    request = PreparedRequest()
    request.prepare_url(f"https://api.example.org/things/{path_segment(id, service='Omneo')}/end", None)
    assert request.path_url.split("/")[1::2] == ["things", "end"]
    assert request.path_url.count("/") == 3


@pytest.mark.parametrize("path", CLIENTS, ids=str)
def test_no_client_quotes_by_itself(path: Path) -> None:
    assert "quote" not in path.read_text()


@pytest.mark.parametrize("id", [".", "..", ""])
def test_what_such_an_id_would_name_is_not_there_and_nobody_is_asked(world: World, id: str) -> None:
    tenant = world.tenant()
    omneo, klaviyo = world.services.omneo(tenant), world.services.klaviyo(tenant)
    world.sandbox.klaviyo.calls.clear()
    assert (omneo.profile(id), omneo.profile_fields(id), omneo.reward_definition(id)) == (None, None, None)
    with pytest.raises(NotFoundError):
        omneo.update_identity("someone", handle=id, identifier="x")
    assert klaviyo.profile(id) is None
    assert world.sandbox.omneo.calls.all() == []
    assert world.sandbox.klaviyo.calls.all() == []
