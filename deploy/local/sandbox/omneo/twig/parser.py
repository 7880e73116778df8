"""Turns tokens into a template, by the rules of Twig's own parser for each tag.

A part of Twig that is not supported here is refused by its name.
"""

from functools import lru_cache

from deploy.local.sandbox.omneo.twig.expression_parser import ExpressionParser
from deploy.local.sandbox.omneo.twig.expressions import Expression, Name
from deploy.local.sandbox.omneo.twig.lexer import Kind, Token, tokenize
from deploy.local.sandbox.omneo.twig.refusals import Place, TemplateFailedError
from deploy.local.sandbox.omneo.twig.statements import Apply, Body, For, If, Print, Set, Statement, Text


@lru_cache(maxsize=4)  # a target is called again and again
def parse(template: str) -> Body:
    """Return the template.

    Raises:
        TemplateFailedError: the text is no template, or uses a part of Twig that is not supported.
    """
    try:
        return _Parser(tokenize(template)).template()
    except RecursionError:
        raise TemplateFailedError("The template is nested too deep.", Place(1, 1)) from None


class _Parser(ExpressionParser):
    def template(self) -> Body:
        body = self._body(frozenset())
        self._expect(Kind.EOF)
        return body

    def _body(self, until: frozenset[str]) -> Body:
        """Return the parts up to a tag of these names, whose name is the next token."""
        self._deeper()
        found: list[Statement] = []
        while not self._now.is_a(Kind.EOF):
            token = self._next()
            if token.kind is Kind.TEXT:
                found.append(Text(token.place, str(token.value)))
            elif token.kind is Kind.PRINT:
                found.append(Print(token.place, self._expression()))
                self._expect(Kind.END)
            elif self._now.is_a(Kind.NAME, *until) and until:
                break
            else:
                found.append(self._tag(token))
        self._depth -= 1
        return tuple(found)

    def _tag(self, opening: Token) -> Statement:
        name = self._expect(Kind.NAME)
        tags = {"if": self._if, "for": self._for, "set": self._set, "apply": self._apply}
        if name.value not in tags:
            ends = (
                ""
                if not str(name.value).startswith(("end", "else"))
                else " It closes nothing that is open here."
            )
            self._fail(f'The tag "{name.value}" is not supported.{ends}', name)
        return tags[str(name.value)](opening)

    def _if(self, opening: Token) -> Statement:
        branches: list[tuple[Expression | None, Body]] = []
        asked: Expression | None = self._expression()
        while True:
            self._expect(Kind.END)
            tags = {"endif"} if asked is None else {"elseif", "else", "endif"}
            branches.append((asked, self._body(frozenset(tags))))
            match self._closing(opening, "if").value:
                case "elseif":
                    asked = self._expression()
                case "else":
                    asked = None
                case _:
                    self._expect(Kind.END)
                    return If(opening.place, tuple(branches))

    def _for(self, opening: Token) -> Statement:
        names = self._names()
        if len(names) > 2:
            self._fail("for has one name, or two for key and value.", opening)
        self._expect(Kind.OPERATOR, "in")
        items = self._expression()
        self._expect(Kind.END)
        body = self._body(frozenset({"else", "endfor"}))
        otherwise: Body = ()
        closing = self._closing(opening, "for")
        self._expect(Kind.END)
        if closing.value == "else":
            otherwise = self._body(frozenset({"endfor"}))
            self._closing(opening, "for")
            self._expect(Kind.END)
        key_name = names[0] if len(names) == 2 else ""
        return For(opening.place, key_name, names[-1], items, body, otherwise)

    def _set(self, opening: Token) -> Statement:
        names = self._names()
        if self._took(Kind.OPERATOR, "="):
            values = [self._expression()]
            while self._took(Kind.PUNCTUATION, ","):
                values.append(self._expression())
            self._expect(Kind.END)
            if len(names) != len(values):
                self._fail("set has as many values as names.", opening)
            return Set(opening.place, names, tuple(values), captures=False)
        if len(names) > 1:
            self._fail("set of what stands between has one name.", opening)
        self._expect(Kind.END)
        body = self._body(frozenset({"endset"}))
        self._closing(opening, "set")
        self._expect(Kind.END)
        return Set(opening.place, names, body, captures=True)

    def _apply(self, opening: Token) -> Statement:
        name = "\0applied"  # a name that no template can write
        filtered = self._filters(Name(opening.place, name))
        self._expect(Kind.END)
        body = self._body(frozenset({"endapply"}))
        self._closing(opening, "apply")
        self._expect(Kind.END)
        return Apply(opening.place, body, name, filtered)

    def _names(self) -> tuple[str, ...]:
        found: list[str] = []
        while True:
            token = self._next()
            is_word = token.kind is Kind.OPERATOR and str(token.value)[:1].isalpha()
            if token.kind is not Kind.NAME and not is_word:
                self._fail("A variable's name is needed here.", token)
            if str(token.value).lower() in ("true", "false", "none", "null"):
                self._fail(f'"{token.value}" is no name of a variable.', token)
            found.append(str(token.value))
            if not self._took(Kind.PUNCTUATION, ","):
                return tuple(found)

    def _closing(self, opening: Token, name: str) -> Token:
        if self._now.is_a(Kind.EOF):
            self._fail(f'The tag "{name}" is not closed.', opening)
        return self._next()
