"""openapi.json is true both ways: all that the code answers is in it and nothing else, and each example fits its own schema."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from deploy.local.path_templates import path_matcher
from deploy.openapi import admin
from deploy.openapi.document import FILE, document, rows, text
from deploy.openapi.routes import served
from deploy.staging import load_routes
from shared.web.answers import ANSWERS, BUG

DOCUMENT = document()
METHODS = {"get", "put", "post", "delete"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each operation with its path and method."""
    for path, item in DOCUMENT["paths"].items():
        yield from ((path, method, operation) for method, operation in item.items() if method in METHODS)


def validator(schema: dict[str, Any]) -> Any:
    """Return what checks values against a schema of the document."""
    whole = {**schema, "components": DOCUMENT["components"]}
    return jsonschema_rs.validator_for(whole)


def contents(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each body that the operation takes or answers, as a Media Type Object, references followed."""
    yield from operation.get("requestBody", {"content": {}})["content"].values()
    known = DOCUMENT["components"]["responses"]
    for answer in operation["responses"].values():
        told = known[answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer
        yield from told.get("content", {}).values()


def test_the_file_is_what_the_code_and_its_rows_write() -> None:
    assert FILE.read_text() == text(), "run python -m deploy.openapi"


def test_every_call_that_the_code_answers_is_in_it_and_no_other() -> None:
    described = {(method.upper(), path) for path, method, _ in operations()}
    assert described == set(served()) == set(rows())


def test_a_call_without_a_row_and_a_row_without_a_call_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(admin.OPERATIONS, ("GET", "/gone"), admin.OPERATIONS["GET", "/status"])
    with pytest.raises(KeyError, match="a row without a call"):
        document()


def test_every_call_is_routed_to_the_function_that_answers_it_and_every_route_leads_to_one() -> None:
    matchers = [(route, path_matcher(route.path)) for route in load_routes()]
    reached = set()
    for (_, path), function in served().items():
        route = next(route for route, matches in matchers if matches(path.replace("{", "").replace("}", "")))
        reached.add(route.path)
        assert route.function == function, path
    assert [route.path for route, _ in matchers if route.path not in reached] == []


def test_every_schema_is_one_and_every_example_fits_its_own() -> None:
    wrong = []
    for path, method, operation in operations():
        for content in contents(operation):
            check = validator(content["schema"])
            wrong += [
                (path, method, name)
                for name, example in content.get("examples", {}).items()
                if not check.is_valid(example["value"])
            ]
        for parameter in operation["parameters"]:
            if "example" in parameter and not validator(parameter["schema"]).is_valid(parameter["example"]):
                wrong.append((path, method, parameter["name"]))
    assert wrong == []


def test_an_example_that_does_not_fit_is_noticed() -> None:
    assert not validator({"$ref": "#/components/schemas/Status"}).is_valid({"tenant": "acme"})


def test_every_code_that_an_error_may_have_stands_at_its_status() -> None:
    told = {
        (int(status), code)
        for status, answer in DOCUMENT["components"]["responses"].items()
        for code in answer["content"]["application/json"]["schema"]["properties"]["error"]["properties"][
            "code"
        ]["enum"]
    }
    assert told == {*ANSWERS.values(), BUG}


def test_no_two_operations_have_one_id() -> None:
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(ids)) == len(ids)
