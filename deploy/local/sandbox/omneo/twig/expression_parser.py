"""Tokens to an expression, by the rules of Twig's own parser: how tight each sign binds, which names there are.

A part of Twig that is not supported here is refused by its name.
"""

import inspect
from collections.abc import Callable, Mapping

from deploy.local.sandbox.omneo.twig.cursor import Cursor
from deploy.local.sandbox.omneo.twig.expressions import (
    Asked,
    Call,
    Choice,
    Constant,
    Defined,
    Expression,
    Function,
    Has,
    Item,
    Items,
    Joined,
    Name,
    Operation,
    Signed,
)
from deploy.local.sandbox.omneo.twig.filters import FILTERS
from deploy.local.sandbox.omneo.twig.functions import ASKED, ASKED_WITH_ONE, FUNCTIONS
from deploy.local.sandbox.omneo.twig.lexer import BINARY, Kind, Token
from deploy.local.sandbox.omneo.twig.php import Value

# How tight a sign binds; `**` and `??` from the right.
_TIGHT: Mapping[str, int] = {
    "or": 10, "and": 15, "b-or": 16, "b-xor": 17, "b-and": 18,
    "==": 20, "!=": 20, "<=>": 20, "<": 20, ">": 20, ">=": 20, "<=": 20, "not in": 20, "in": 20, "matches": 20, "starts with": 20,
    "ends with": 20, "has some": 20, "has every": 20,
    "..": 25, "+": 30, "-": 30, "~": 40, "*": 60, "/": 60, "//": 60, "%": 60, "is": 100, "is not": 100, "**": 200, "??": 300,
}  # fmt: skip
_FROM_THE_RIGHT = {"**", "??"}
_OF_TWIG = {"_self", "_charset"}
_BEFORE: Mapping[str, int] = {"not": 50, "-": 500, "+": 500}
_WORDS: Mapping[str, Value] = {
    "true": True, "TRUE": True, "false": False, "FALSE": False, "none": None, "NONE": None, "null": None, "NULL": None,
}  # fmt: skip
assert set(_TIGHT) == set(BINARY)  # noqa: S101 - the lexer and the parser know the same signs


class ExpressionParser(Cursor):
    """Reads an expression from where the cursor stands."""

    def _expression(self, tight: int = 0, *, may_be_function: bool = False) -> Expression:
        self._deeper()
        found = (self._function() if may_be_function else None) or self._operations(tight)
        self._depth -= 1
        return found

    def _operations(self, tight: int) -> Expression:
        found = self._primary()
        while self._now.kind is Kind.OPERATOR and _TIGHT.get(str(self._now.value), -1) >= tight:
            token = self._next()
            sign = str(token.value)
            if sign in ("is", "is not"):
                found = self._asked(found, token, is_not=sign == "is not")
                continue
            own = _TIGHT[sign] + (sign not in _FROM_THE_RIGHT)
            found = self._operation(token, found, self._expression(own, may_be_function=True))
        return self._choice(found) if tight == 0 else found

    def _operation(self, token: Token, left: Expression, right: Expression) -> Expression:
        sign = str(token.value)
        if sign == "matches":
            self._fail('The operator "matches" is not supported: a pattern may take for ever.', token)
        if sign == "??" and not isinstance(left, Name | Item | Constant | Items):
            self._fail('Before "??" stands a variable, a part of one or a plain value.', token)
        if sign == "~":
            return Joined(token.place, (left, right))
        if sign in ("has some", "has every"):
            return Has(token.place, sign == "has every", left, right)
        if sign == "**" and isinstance(left, Signed):
            # PHP has the sign for the whole power, with parentheses or without.
            return Signed(left.place, left.sign, Operation(token.place, sign, left.operand, right))
        return Operation(token.place, sign, left, right)

    def _choice(self, asked: Expression) -> Expression:
        while token := self._took(Kind.PUNCTUATION, "?"):
            then: Expression | None = None
            otherwise: Expression = Constant(token.place, "")
            if self._took(Kind.PUNCTUATION, ":"):
                otherwise = self._expression()
            else:
                then = self._expression()
                if self._took(Kind.PUNCTUATION, ":"):
                    otherwise = self._expression()
            asked = Choice(token.place, asked, then, otherwise)
        return asked

    def _asked(self, operand: Expression, token: Token, *, is_not: bool) -> Expression:
        name = self._expect(Kind.NAME)
        question = str(name.value)
        if question not in ASKED and question != "defined" and self._now.kind is Kind.NAME:
            question += f" {self._next().value}"
        given: list[Expression] = [operand]
        if self._now.is_a(Kind.PUNCTUATION, "("):
            positional, named = self._arguments()
            if named:
                self._fail("What stands after `is` takes no names.", name)
            given += positional
        elif question in ASKED_WITH_ONE:
            given.append(self._plain())
        found: Expression
        if question == "defined":
            found = self._defined(given, name)
        elif question in ASKED:
            self._check(ASKED[question], given, {}, question, name, skipped=0)
            found = Asked(token.place, ASKED[question], tuple(given))
        else:
            self._fail(f'The test "{question}" is not supported.', name)
        return Signed(token.place, "not", found) if is_not else found

    def _defined(self, given: list[Expression], name: Token) -> Expression:
        if len(given) == 1 and isinstance(given[0], Constant | Items):
            return Asked(name.place, lambda: True, ())
        if len(given) > 1 or not isinstance(given[0], Name | Item):
            self._fail("Only a variable or a part of one is asked for with `is defined`.", name)
        return Defined(name.place, given[0])

    def _function(self) -> Expression | None:
        """Return a function that is written with `=>`, None if none stands here."""
        start, names = self._now, []
        if self._now.kind is Kind.NAME and self._look(1).kind is Kind.ARROW:
            names = [str(self._next().value)]
        elif end := self._end_of_names():
            names = [str(token.value) for token in self._tokens[self._at : end] if token.kind is Kind.NAME]
            self._at = end
        else:
            return None
        self._expect(Kind.ARROW)
        return Function(start.place, tuple(names), self._expression())

    def _end_of_names(self) -> int:
        """Return where the arrow after a list of names in parentheses stands, 0 if none does."""
        at = self._at
        if not self._tokens[at].is_a(Kind.PUNCTUATION, "("):
            return 0
        while self._token(at + 1).kind is Kind.NAME and self._token(at + 2).is_a(Kind.PUNCTUATION, ",", ")"):
            at += 2
            if self._tokens[at].value == ")":
                return at + 1 if self._token(at + 1).kind is Kind.ARROW else 0
        return 0

    def _primary(self) -> Expression:
        token = self._now
        if token.kind is Kind.OPERATOR and token.value in _BEFORE:
            self._next()
            operand = self._expression(_BEFORE[str(token.value)])
            return self._postfix(Signed(token.place, str(token.value), operand))
        if self._took(Kind.PUNCTUATION, "("):
            found = self._expression()
            self._expect(Kind.PUNCTUATION, ")")
            return self._postfix(found)
        return self._plain()

    def _plain(self) -> Expression:
        token = self._next()
        match token.kind:
            case Kind.NAME:
                found = self._named(token)
            case Kind.NUMBER:
                found = Constant(token.place, token.value)
            case Kind.STRING | Kind.INTERPOLATION:
                found = self._string(token)
            case Kind.OPERATOR if str(token.value)[:1].isalpha() and " " not in str(token.value):
                found = Name(token.place, str(token.value))
            case Kind.OPERATOR if token.value in ("-", "+"):
                found = Signed(token.place, str(token.value), self._plain())
            case Kind.PUNCTUATION if token.value == "[":
                found = self._list(token)
            case Kind.PUNCTUATION if token.value == "{":
                found = self._map(token)
            case _:
                self._unexpected(token)
        return self._postfix(found)

    def _named(self, token: Token) -> Expression:
        name = str(token.value)
        if name in _WORDS:
            return Constant(token.place, _WORDS[name])
        if name in _OF_TWIG:
            self._fail(f'The variable "{name}" of Twig\'s own is not supported.', token)
        if not self._now.is_a(Kind.PUNCTUATION, "("):
            return Name(token.place, name)
        if name not in FUNCTIONS:
            self._fail(f'The function "{name}" is not supported.', token)
        given, named = self._arguments()
        return self._call(FUNCTIONS[name], given, named, token)

    def _string(self, token: Token) -> Expression:
        self._at -= 1
        parts: list[Expression] = []
        may_be_string = True
        while True:
            if may_be_string and (part := self._took(Kind.STRING)):
                parts.append(Constant(part.place, part.value))
                may_be_string = False
            elif self._took(Kind.INTERPOLATION):
                parts.append(self._expression())
                self._expect(Kind.END_INTERPOLATION)
                may_be_string = True
            else:
                break
        return parts[0] if len(parts) == 1 else Joined(token.place, tuple(parts))

    def _list(self, token: Token) -> Expression:
        found: list[tuple[Expression | None, Expression]] = []
        while not self._took(Kind.PUNCTUATION, "]"):
            if found:
                self._expect(Kind.PUNCTUATION, ",")
                if self._took(Kind.PUNCTUATION, "]"):
                    break
            found.append((None, self._expression()))
        return Items(token.place, tuple(found))

    def _map(self, token: Token) -> Expression:
        found: list[tuple[Expression | None, Expression]] = []
        while not self._took(Kind.PUNCTUATION, "}"):
            if found:
                self._expect(Kind.PUNCTUATION, ",")
                if self._took(Kind.PUNCTUATION, "}"):
                    break
            found.append(self._pair())
        return Items(token.place, tuple(found))

    def _pair(self) -> tuple[Expression, Expression]:
        token = self._now
        if token.is_a(Kind.PUNCTUATION, "("):
            name = self._expression()
        elif token.kind in (Kind.NAME, Kind.STRING, Kind.NUMBER):
            self._next()
            name = Constant(token.place, token.value)
            if token.kind is Kind.NAME and self._now.is_a(Kind.PUNCTUATION, ",", "}"):
                return name, Name(token.place, str(token.value))
        else:
            self._unexpected(token)
        self._expect(Kind.PUNCTUATION, ":")
        return name, self._expression()

    def _postfix(self, found: Expression) -> Expression:
        while self._now.is_a(Kind.PUNCTUATION, ".", "[", "|"):
            token = self._next()
            match token.value:
                case ".":
                    found = self._dotted(found)
                case "[":
                    found = self._subscript(found, token)
                case _:
                    found = self._filter(found)
        return found

    def _dotted(self, whole: Expression) -> Expression:
        token = self._next()
        is_word = token.kind is Kind.OPERATOR and str(token.value)[:1].isalpha()
        if token.kind not in (Kind.NAME, Kind.NUMBER) and not is_word:
            self._unexpected(token)
        if self._now.is_a(Kind.PUNCTUATION, "("):
            self._fail(f'Nothing can be called here: "{token.value}" is no function of Twig\'s.', token)
        return Item(token.place, whole, Constant(token.place, token.value))

    def _subscript(self, whole: Expression, token: Token) -> Expression:
        start: Expression = Constant(token.place, 0)
        if not self._now.is_a(Kind.PUNCTUATION, ":"):
            start = self._expression()
        if not self._took(Kind.PUNCTUATION, ":"):
            self._expect(Kind.PUNCTUATION, "]")
            return Item(token.place, whole, start)
        length: Expression = Constant(token.place, None)
        if not self._now.is_a(Kind.PUNCTUATION, "]"):
            length = self._expression()
        self._expect(Kind.PUNCTUATION, "]")
        return Call(token.place, FILTERS["slice"], (whole, start, length))

    def _filters(self, found: Expression) -> Expression:
        found = self._filter(found)
        while self._took(Kind.PUNCTUATION, "|"):
            found = self._filter(found)
        return found

    def _filter(self, operand: Expression) -> Expression:
        token = self._expect(Kind.NAME)
        name = str(token.value)
        if name not in FILTERS:
            self._fail(f'The filter "{name}" is not supported.', token)
        given, named = self._arguments() if self._now.is_a(Kind.PUNCTUATION, "(") else ([], {})
        return self._call(FILTERS[name], [operand, *given], named, token)

    def _call(
        self,
        function: Callable[..., Value],
        given: list[Expression],
        named: Mapping[str, Expression],
        token: Token,
    ) -> Expression:
        bound = self._check(function, given, named, str(token.value), token)
        return Call(token.place, function, tuple(given), tuple(bound.items()))

    def _check(
        self,
        function: Callable[..., object],
        given: list[Expression],
        named: Mapping[str, Expression],
        name: str,
        token: Token,
        *,
        skipped: int = 1,
    ) -> dict[str, Expression]:
        """Return the named arguments by the function's own names, if it can be called like that."""
        signature = inspect.signature(function)
        own = {parameter.rstrip("_"): parameter for parameter in signature.parameters}
        bound: dict[str, Expression] = {}
        for wanted, expression in named.items():
            plain = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in wanted)
            if plain not in own:
                self._fail(f'"{name}" has no argument "{wanted}".', token)
            bound[own[plain]] = expression
        try:
            signature.bind(*[None] * skipped, *given, **bound)
        except TypeError:
            self._fail(f'"{name}" does not take these arguments.', token)
        return bound

    def _arguments(self) -> tuple[list[Expression], dict[str, Expression]]:
        given: list[Expression] = []
        named: dict[str, Expression] = {}
        self._expect(Kind.PUNCTUATION, "(")
        while not self._took(Kind.PUNCTUATION, ")"):
            if given or named:
                self._expect(Kind.PUNCTUATION, ",")
                if self._took(Kind.PUNCTUATION, ")"):
                    break
            found = self._expression(may_be_function=True)
            if token := self._took(Kind.OPERATOR, "="):
                if not isinstance(found, Name) or found.name in named:
                    self._unexpected(token)
                named[found.name] = self._expression(may_be_function=True)
            elif named:
                self._fail("An argument without a name stands after one that has one.", self._now)
            else:
                given.append(found)
        return given, named
