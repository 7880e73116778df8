"""A place in a template's tokens: the token there, the next one, and the message to the author if a token does not fit."""

from typing import NoReturn

from deploy.local.sandbox.omneo.twig.budget import DEEPEST
from deploy.local.sandbox.omneo.twig.lexer import Kind, Token
from deploy.local.sandbox.omneo.twig.refusals import TemplateFailedError


class Cursor:
    """Reads tokens one after the other."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    @property
    def _now(self) -> Token:
        return self._tokens[self._at]

    def _look(self, ahead: int) -> Token:
        return self._token(self._at + ahead)

    def _token(self, at: int) -> Token:
        return self._tokens[min(at, len(self._tokens) - 1)]

    def _next(self) -> Token:
        token = self._now
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _took(self, kind: Kind, *values: str) -> Token | None:
        return self._next() if self._now.is_a(kind, *values) else None

    def _expect(self, kind: Kind, *values: str) -> Token:
        token = self._now
        if not token.is_a(kind, *values):
            self._unexpected(token, *values)
        return self._next()

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            self._fail("The template is nested too deep.", self._now)

    def _unexpected(self, token: Token, *wanted: str) -> NoReturn:
        what = "The template ends" if token.kind is Kind.EOF else f'"{token.value}" does not fit'
        hint = f': "{wanted[0]}" is needed' if wanted else ""
        self._fail(f"{what} here{hint}.", token)

    def _fail(self, reason: str, token: Token) -> NoReturn:
        raise TemplateFailedError(reason, token.place)
