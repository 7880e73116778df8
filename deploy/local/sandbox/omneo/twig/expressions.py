"""The parts of an expression, each of which gives its value in a scope and knows where it stands."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from deploy.local.sandbox.omneo.twig.functions import item_of, span
from deploy.local.sandbox.omneo.twig.numbers import SIGNS, computed
from deploy.local.sandbox.omneo.twig.php import (
    Array,
    Arrow,
    Value,
    compare,
    is_true,
    key,
    text,
    whole,
)
from deploy.local.sandbox.omneo.twig.refusals import Place, Refusal, TemplateFailedError
from deploy.local.sandbox.omneo.twig.scope import Scope


@contextmanager
def standing_at(place: Place) -> Iterator[None]:
    """Add the place to a refusal."""
    try:
        yield
    except Refusal as refusal:
        raise TemplateFailedError(str(refusal), place) from None


@dataclass(frozen=True)
class Expression(ABC):
    """A part of a template that has a value."""

    place: Place

    def value(self, scope: Scope) -> Value:
        """Return its value.

        Raises:
            TemplateFailedError: there is none.
        """
        try:
            scope.budget.step()
            return self._value(scope)
        except Refusal as refusal:
            raise TemplateFailedError(str(refusal), self.place) from None
        except RecursionError:
            raise TemplateFailedError("The template is nested too deep.", self.place) from None

    @abstractmethod
    def _value(self, scope: Scope) -> Value: ...

    def is_defined(self, scope: Scope) -> bool:
        """Return whether Twig's `is defined` holds."""
        raise TemplateFailedError(
            "Only a variable or a part of one is asked for with `is defined`.", self.place
        )


@dataclass(frozen=True)
class Constant(Expression):
    """A number, a text, true, false or null."""

    constant: Value

    def _value(self, scope: Scope) -> Value:
        return self.constant


@dataclass(frozen=True)
class Name(Expression):
    """A variable: null if there is none."""

    name: str

    def _value(self, scope: Scope) -> Value:
        if self.name == "_context":
            return dict(scope.variables)
        return scope.variables.get(self.name)

    def is_defined(self, scope: Scope) -> bool:
        return self.name in scope.variables


@dataclass(frozen=True)
class Item(Expression):
    """A part of an array: `a.b` or `a["b"]`."""

    whole: Expression
    name: Expression

    def _value(self, scope: Scope) -> Value:
        return item_of(self.whole.value(scope), self.name.value(scope))

    def is_defined(self, scope: Scope) -> bool:
        whole, name = self.whole.value(scope), self.name.value(scope)
        with standing_at(self.place):
            if isinstance(whole, datetime):
                raise Refusal("What a date has is not asked for with `is defined` here.")
            return isinstance(whole, dict) and key(name) in whole


@dataclass(frozen=True)
class Items(Expression):
    """An array that the template writes: pairs of a key, None where it is counted, and a value."""

    pairs: tuple[tuple[Expression | None, Expression], ...]

    def _value(self, scope: Scope) -> Value:
        found: Array = {}
        next_place = 0
        for name, item in self.pairs:
            if name is None:
                found[next_place] = item.value(scope)
                next_place += 1
            else:
                found[key(name.value(scope))] = item.value(scope)
        scope.budget.take(items=len(found))
        scope.budget.weigh(found)
        return found


@dataclass(frozen=True)
class Joined(Expression):
    """`~`, and a string with `#{}` in it."""

    parts: tuple[Expression, ...]

    def _value(self, scope: Scope) -> Value:
        parts = [text(part.value(scope)) for part in self.parts]
        scope.budget.take(sum(map(len, parts)))
        return "".join(parts)


@dataclass(frozen=True)
class Choice(Expression):
    """`a ? b : c`, and `a ?: c`, where b is a."""

    asked: Expression
    then: Expression | None
    otherwise: Expression

    def _value(self, scope: Scope) -> Value:
        found = self.asked.value(scope)
        if not is_true(found):
            return self.otherwise.value(scope)
        return found if self.then is None else self.then.value(scope)


@dataclass(frozen=True)
class Signed(Expression):
    """`not`, `-` and `+` before a value."""

    sign: str
    operand: Expression

    def _value(self, scope: Scope) -> Value:
        found = self.operand.value(scope)
        if self.sign == "not":
            return not is_true(found)
        return computed("*", found, -1 if self.sign == "-" else 1)


@dataclass(frozen=True)
class Operation(Expression):
    """A sign between two values."""

    sign: str
    left: Expression
    right: Expression

    def _value(self, scope: Scope) -> Value:
        if self.sign in _LAZY:
            return _LAZY[self.sign](self.left, self.right, scope)
        left, right = self.left.value(scope), self.right.value(scope)
        scope.budget.weigh(left, right)
        if self.sign in SIGNS:
            if isinstance(left, dict) or isinstance(right, dict):
                raise Refusal("An array cannot be computed with.")
            return computed(self.sign, left, right)
        if self.sign == "..":
            return span(scope, left, right)
        return _PLAIN[self.sign](left, right)


def _coalesced(left: Expression, right: Expression, scope: Scope) -> Value:
    found = left.value(scope)
    return right.value(scope) if found is None else found


_LAZY: Mapping[str, Callable[[Expression, Expression, Scope], Value]] = {
    "and": lambda left, right, scope: is_true(left.value(scope)) and is_true(right.value(scope)),
    "or": lambda left, right, scope: is_true(left.value(scope)) or is_true(right.value(scope)),
    "??": _coalesced,
}


def _contains(item: Value, items: Value) -> bool:
    if isinstance(items, str):
        if isinstance(item, bool) or not isinstance(item, str | int | float):
            return False
        return text(item) in items
    if not isinstance(items, dict):
        return False
    return any(compare(item, one) == 0 for one in items.values())


def _begins(left: Value, right: Value) -> bool:
    return isinstance(left, str) and isinstance(right, str) and left.startswith(right)


def _ends(left: Value, right: Value) -> bool:
    return isinstance(left, str) and isinstance(right, str) and left.endswith(right)


def _bits(left: Value, right: Value) -> int:
    if isinstance(left, str) and isinstance(right, str):
        raise Refusal("The letters of two texts are not joined bit by bit here.")
    return whole(left)


_PLAIN: Mapping[str, Callable[[Value, Value], Value]] = {
    "==": lambda left, right: compare(left, right) == 0,
    "!=": lambda left, right: compare(left, right) != 0,
    "<": lambda left, right: compare(left, right) < 0,
    "<=": lambda left, right: compare(left, right) <= 0,
    ">": lambda left, right: compare(right, left) < 0,
    ">=": lambda left, right: compare(right, left) <= 0,
    "<=>": compare,
    "in": _contains,
    "not in": lambda left, right: not _contains(left, right),
    "starts with": _begins,
    "ends with": _ends,
    "b-and": lambda left, right: _bits(left, right) & whole(right),
    "b-or": lambda left, right: _bits(left, right) | whole(right),
    "b-xor": lambda left, right: _bits(left, right) ^ whole(right),
}


@dataclass(frozen=True)
class Has(Expression):
    """`has some` and `has every`."""

    every: bool
    items: Expression
    asked: Expression

    def _value(self, scope: Scope) -> Value:
        items, asked = self.items.value(scope), self.asked.value(scope)
        if not isinstance(asked, Arrow):
            raise Refusal("A function stands after has some and has every.")
        if not isinstance(items, dict):
            return self.every
        found = (is_true(asked.call(item, name)) for name, item in items.items())
        return all(found) if self.every else any(found)


@dataclass(frozen=True)
class Function(Expression):
    """`a => b`, which the template hands to a filter."""

    names: tuple[str, ...]
    body: Expression

    def _value(self, scope: Scope) -> Value:
        def call(*given: Value) -> Value:
            scope.budget.copy(scope.variables)
            values: Array = {
                name: given[place] if place < len(given) else None for place, name in enumerate(self.names)
            }
            return self.body.value(replace(scope, variables={**scope.variables, **values}))

        return Arrow(call)


@dataclass(frozen=True)
class Call(Expression):
    """A function or a filter with its arguments, which were checked when the template was parsed."""

    function: Callable[..., Value]
    given: tuple[Expression, ...]
    named: tuple[tuple[str, Expression], ...] = ()

    def _value(self, scope: Scope) -> Value:
        given = [one.value(scope) for one in self.given]
        named = {name: one.value(scope) for name, one in self.named}
        scope.budget.weigh(*given, *named.values())
        found = self.function(scope, *given, **named)
        scope.budget.weigh(found)
        if isinstance(found, str):
            scope.budget.take(len(found))
        return found


@dataclass(frozen=True)
class Asked(Expression):
    """`is`."""

    question: Callable[..., bool]
    given: Sequence[Expression]

    def _value(self, scope: Scope) -> Value:
        given = [one.value(scope) for one in self.given]
        scope.budget.weigh(*given)
        return self.question(*given)


@dataclass(frozen=True)
class Defined(Expression):
    """`is defined`."""

    operand: Expression

    def _value(self, scope: Scope) -> Value:
        return self.operand.is_defined(scope)
