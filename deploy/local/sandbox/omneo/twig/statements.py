"""The parts of a template that print: text, `{{ }}` and the tags. Each writes into a list and may change the scope's variables."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from deploy.local.sandbox.omneo.twig.expressions import Expression, standing_at
from deploy.local.sandbox.omneo.twig.php import Array, Value, is_true, text
from deploy.local.sandbox.omneo.twig.refusals import Place
from deploy.local.sandbox.omneo.twig.scope import Scope


@dataclass(frozen=True)
class Statement(ABC):
    """A part of a template that prints."""

    place: Place

    @abstractmethod
    def write(self, scope: Scope, out: list[str]) -> None:
        """Write its output."""


Body = tuple[Statement, ...]


def write_all(body: Body, scope: Scope, out: list[str]) -> None:
    """Write the output of all parts."""
    for statement in body:
        statement.write(scope, out)


@dataclass(frozen=True)
class Text(Statement):
    """Text outside the braces."""

    text: str

    def write(self, scope: Scope, out: list[str]) -> None:
        with standing_at(self.place):
            scope.budget.take(len(self.text))
        out.append(self.text)


@dataclass(frozen=True)
class Print(Statement):
    """`{{ }}`."""

    expression: Expression

    def write(self, scope: Scope, out: list[str]) -> None:
        found = self.expression.value(scope)
        with standing_at(self.expression.place):
            written = text(found)
            scope.budget.take(len(written))
        out.append(written)


@dataclass(frozen=True)
class If(Statement):
    """`if`, `elseif` and `else`, which is a branch without a condition."""

    branches: tuple[tuple[Expression | None, Body], ...]

    def write(self, scope: Scope, out: list[str]) -> None:
        for asked, body in self.branches:
            if asked is None or is_true(asked.value(scope)):
                write_all(body, scope, out)
                return


@dataclass(frozen=True)
class Set(Statement):
    """`set`, of values or of the part up to `endset`."""

    names: tuple[str, ...]
    values: tuple[Expression, ...] | Body
    captures: bool

    def write(self, scope: Scope, out: list[str]) -> None:
        found: list[Value] = []
        if self.captures:
            captured: list[str] = []
            write_all(_body(self.values), scope, captured)
            found = ["".join(captured)]
        else:
            found = [one.value(scope) for one in self.values if isinstance(one, Expression)]
        scope.variables.update(zip(self.names, found, strict=True))


def _body(parts: tuple[Expression, ...] | Body) -> Body:
    return tuple(part for part in parts if isinstance(part, Statement))


@dataclass(frozen=True)
class Apply(Statement):
    """`apply`, which filters the part up to `endapply`."""

    body: Body
    name: str
    filtered: Expression

    def write(self, scope: Scope, out: list[str]) -> None:
        captured: list[str] = []
        write_all(self.body, scope, captured)
        inner = replace(scope, variables={**scope.variables, self.name: "".join(captured)})
        found = self.filtered.value(inner)
        with standing_at(self.place):
            out.append(text(found))


@dataclass(frozen=True)
class For(Statement):
    """`for`, with `else` for an array that is empty or none."""

    key_name: str
    name: str
    items: Expression
    body: Body
    otherwise: Body

    def write(self, scope: Scope, out: list[str]) -> None:
        found = self.items.value(scope)
        items = found if isinstance(found, dict) else {}
        with standing_at(self.place):
            scope.budget.copy(scope.variables)
        before = dict(scope.variables)
        if not items:
            write_all(self.otherwise, scope, out)
        for place, (name, item) in enumerate(items.items()):
            with standing_at(self.place):
                scope.budget.step()
            scope.variables[self.name] = item
            if self.key_name:
                scope.variables[self.key_name] = name
            scope.variables["loop"] = _loop(place, len(items), before)
            write_all(self.body, scope, out)
        if items:
            self._leave(scope, before)

    def _leave(self, scope: Scope, before: Array) -> None:
        """Keep the loop's changes to existing variables, and drop its new ones."""
        own = {"loop", self.name, self.key_name}
        kept = {name: scope.variables[name] for name in before if name not in own and name in scope.variables}
        scope.variables.clear()
        scope.variables.update(before | kept)


def _loop(place: int, count: int, parent: Array) -> Array:
    return {
        "parent": parent,
        "index0": place,
        "index": place + 1,
        "first": place == 0,
        "revindex0": count - place - 1,
        "revindex": count - place,
        "length": count,
        "last": place == count - 1,
    }
