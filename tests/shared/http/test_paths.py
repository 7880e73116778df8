"""An id in a path: it names one thing below the path, or nothing, and never something beside or above."""

import ast
import re
from pathlib import Path

import pytest
from requests import PreparedRequest

from shared.errors import NotFoundError
from shared.http.paths import path_segment, path_template
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


def words_of(path: Path) -> set[str]:
    """Return the words that stand in the paths of a client, those of Klaviyo's jobs included, which are part of a path."""
    words: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if re.fullmatch(r"[a-z-]+-job", text):
            words.add(f"{text}s")
        elif re.fullmatch(r"/[a-z0-9/-]*", text):
            words |= set(text.split("/"))
    return words - {""}


# resources.py holds paths of ours, which Klaviyo and Omneo call, and rests.py the name of a collection.
@pytest.mark.parametrize(
    "path", [path for path in CLIENTS if path.name not in {"resources.py", "rests.py"}], ids=str
)
def test_every_word_of_a_clients_paths_is_logged_as_it_is(path: Path) -> None:
    words = words_of(path)
    assert {word for word in words if path_template(f"/{word}") != f"/{word}"} == set()


def test_the_words_of_clients_are_found() -> None:
    found = set().union(*map(words_of, CLIENTS))
    assert {"profiles", "oauth", "data-source-record-create-jobs", "import-errors"} <= found


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/api/profiles/01ABCDEF", "/api/profiles/{id}"),
        ("/api/v3/profiles/canary-1/identities/klaviyo", "/api/v3/profiles/{id}/identities/{id}"),
        ("/api/profiles?filter=canary", "/api/profiles"),
        ("/api/lists/canary/profiles", "/api/lists/{id}/profiles"),
        ("/api/profiles/canary%40example.org/", "/api/profiles/{id}/"),
    ],
)
def test_what_is_none_of_their_words_is_an_id(path: str, template: str) -> None:
    assert path_template(path) == template
