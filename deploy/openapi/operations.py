"""The row of one public call, and how OpenAPI 3.1 writes it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
HTML = "text/html"
# The answers that any call of a function with the policy `endpoint` may get.
EVERYWHERE = (400, 401, 404, 405, 413, 500, 503)


@dataclass(frozen=True)
class Parameter:
    """A parameter of the query, or a header."""

    name: str
    description: str
    schema: Json
    example: Any = None
    place: str = "query"
    is_required: bool = False

    def written(self) -> Json:
        """Return the Parameter Object."""
        told: Json = {
            "name": self.name,
            "in": self.place,
            "description": self.description,
            "required": self.is_required,
            "schema": self.schema,
        }
        return told if self.example is None else {**told, "example": self.example}


@dataclass(frozen=True)
class Body:
    """A body, with examples by name. Each is one that the call takes."""

    schema: Json
    examples: Mapping[str, Any]
    is_required: bool = True
    media: str = JSON

    def written(self) -> Json:
        """Return the Request Body Object."""
        return {"required": self.is_required, "content": {self.media: _content(self.schema, self.examples)}}


@dataclass(frozen=True)
class Answer:
    """The answer to a call that succeeds. `schema` is None for a page and for a redirect."""

    description: str
    schema: Json | None = None
    example: Any = None
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)  # the description of each, by its name

    def written(self) -> Json:
        """Return the Response Object."""
        told: Json = {"description": self.description}
        if self.headers:
            told["headers"] = {
                name: {"description": says, "schema": {"type": "string"}}
                for name, says in self.headers.items()
            }
        if self.schema is not None:
            told["content"] = {self.media: _content(self.schema, {"answer": self.example})}
        elif self.media == HTML:
            told["content"] = {HTML: {"schema": {"type": "string"}}}
        return told


@dataclass(frozen=True)
class Operation:
    """A public call. `opened_by` names the security schemes of which one lets in; none: the call is open to everybody."""

    summary: str
    answers: Mapping[int, Answer]
    opened_by: Sequence[str] = ()
    parameters: Sequence[Parameter] = ()
    body: Body | None = None
    description: str = ""
    errors: Iterable[int] = EVERYWHERE

    def written(self, function: str, path_parameters: Sequence[Json]) -> Json:
        """Return the Operation Object, of the function that answers."""
        told: Json = {"tags": [function], "summary": self.summary}
        if self.description:
            told["description"] = self.description
        told["parameters"] = [*path_parameters, *(one.written() for one in self.parameters)]
        if self.body is not None:
            told["requestBody"] = self.body.written()
        answers = {str(status): answer.written() for status, answer in self.answers.items()}
        errors = {str(status): {"$ref": f"#/components/responses/{status}"} for status in self.errors}
        told["responses"] = dict(sorted({**errors, **answers}.items()))
        told["security"] = [{scheme: []} for scheme in self.opened_by]
        return told


def _content(schema: Json, examples: Mapping[str, Any]) -> Json:
    return {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}


def an_object(required: Mapping[str, Json], optional: Mapping[str, Json] | None = None) -> Json:
    """Return the schema of an object with these properties.

    It may gain others: a reader ignores properties that it does not know.
    """
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
    }


def or_null(schema: Json) -> Json:
    """Return the schema of a value that may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def a_list(of: Json) -> Json:
    """Return the schema of a list."""
    return {"type": "array", "items": of}


TEXT: Json = {"type": "string"}
TIME: Json = {"type": "string", "format": "date-time"}
NUMBER: Json = {"type": "number"}
COUNT: Json = {"type": "integer", "minimum": 0}
YES_OR_NO: Json = {"type": "boolean"}
ANY_OBJECT: Json = {"type": "object"}


def one_of(words: Iterable[str]) -> Json:
    """Return the schema of one of these words."""
    return {"type": "string", "enum": list(words)}


QUEUED = an_object({"status": {"const": "queued"}, "id": TEXT})
A_QUEUED_CALL: Json = {"status": "queued", "id": "6f1c0f6d0f0f4a44a2f1b6a1d2f5c3aa"}
