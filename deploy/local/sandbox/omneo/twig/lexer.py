"""Turns a template's text into tokens, by the rules of Twig's own lexer for blanks, operators and strings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import NoReturn

from deploy.local.sandbox.omneo.twig.budget import LONGEST_TEMPLATE
from deploy.local.sandbox.omneo.twig.refusals import Place, TemplateFailedError

UNARY = ("not", "-", "+")
BINARY = (
    "or", "and", "b-or", "b-xor", "b-and", "==", "!=", "<=>", "<", ">", ">=", "<=", "not in", "in", "matches", "starts with",
    "ends with", "has some", "has every", "..", "+", "-", "~", "*", "/", "//", "%", "is", "is not", "**", "??",
)  # fmt: skip


class Kind(Enum):
    """The kind of a token."""

    TEXT = auto()
    PRINT = auto()
    TAG = auto()
    END = auto()  # of a printed expression, or of a tag
    NAME = auto()
    NUMBER = auto()
    STRING = auto()
    OPERATOR = auto()
    PUNCTUATION = auto()
    ARROW = auto()
    INTERPOLATION = auto()
    END_INTERPOLATION = auto()
    EOF = auto()


@dataclass(frozen=True)
class Token:
    """A token and its place. The `value` of a number is the number, that of all others a text."""

    kind: Kind
    value: str | int | float
    place: Place

    def is_a(self, kind: Kind, *values: str) -> bool:
        """Return whether the token is of the kind, and one of the values if there are any."""
        return self.kind is kind and (not values or self.value in values)


def _operator(name: str) -> str:
    pattern = r"\s+".join(re.escape(part) for part in name.split())
    before = r"(?<![.|])" if name[0].isalpha() else ""
    after = r"(?=[\s()\[{])" if name[-1].isalpha() else ""
    return f"{before}{pattern}{after}"


_BLANKS = r"[ \t\n\r\v\f]"
_START = re.compile(r"(\{\{|\{%|\{#)([-~])?")
_ENDS = {
    "{{": re.compile(r"\s*(?:-\}\}\s*|~\}\}[ \t\0\v]*|\}\})"),
    "{%": re.compile(r"\s*(?:-%\}\s*\n?|~%\}[ \t\0\v]*|%\}\n?)"),
}
_COMMENT_END = re.compile(r"-#\}\s*\n?|~#\}[ \t\0\v]*|#\}\n?")
_VERBATIM = re.compile(r"\s*verbatim\s*(?:-%\}\s*|~%\}[ \t\0\v]*|%\})")
_END_VERBATIM = re.compile(r"\{%([-~])?\s*endverbatim\s*(?:-%\}\s*|~%\}[ \t\0\v]*|%\})")
_OPERATOR = re.compile("|".join(map(_operator, sorted({"=", *UNARY, *BINARY}, key=len, reverse=True))))
_NAME = re.compile(r"[a-zA-Z_\x7f-\U0010ffff][a-zA-Z0-9_\x7f-\U0010ffff]*")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[Ee][+-][0-9]+)?", re.ASCII)
_STRING = re.compile(r"""(?s)"([^#"\\]*(?:\\.[^#"\\]*)*)"|'([^'\\]*(?:\\.[^'\\]*)*)'""")
_PART = re.compile(r'(?s)[^#"\\]*(?:(?:\\.|#(?!\{))[^#"\\]*)*')
_BLANK = re.compile(r"\s+")
_ESCAPE = re.compile(rb"(?s)\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)")
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"v": b"\v", b"b": b"\b", b"f": b"\f"}
_LARGEST = 2**63 - 1


def tokenize(template: str) -> list[Token]:
    """Return the template's tokens, the last of which is EOF.

    Raises:
        TemplateFailedError: something is not closed, or no token.
    """
    if len(template) > LONGEST_TEMPLATE:
        raise TemplateFailedError("The template is longer than a target may be.", Place(1, 1))
    return [*_Lexer(template.replace("\r\n", "\n").replace("\r", "\n")).tokens()]


class _Lexer:
    def __init__(self, code: str) -> None:
        self.code = code
        self.at = 0
        self._line, self._line_start, self._counted = 1, 0, 0

    def tokens(self) -> Iterator[Token]:
        while found := _START.search(self.code, self.at):
            text, trim = self.code[self.at : found.start()], found[2]
            if trim:
                text = text.rstrip(" \t\n\r\0\v") if trim == "-" else text.rstrip(" \t\0\v")
            if text:
                yield self._token(Kind.TEXT, text, self.at)
            start, self.at = found.start(), found.end()
            yield from self._opened(found[1], start)
        if self.at < len(self.code):
            yield self._token(Kind.TEXT, self.code[self.at :], self.at)
        yield self._token(Kind.EOF, "", len(self.code))

    def _opened(self, opening: str, start: int) -> Iterator[Token]:
        if opening == "{#":
            end = _COMMENT_END.search(self.code, self.at)
            if end is None:
                self._fail("A comment is not closed.", start)
            self.at = end.end()
        elif opening == "{%" and (verbatim := _VERBATIM.match(self.code, self.at)):
            yield from self._verbatim(verbatim.end(), start)
        else:
            yield self._token(Kind.PRINT if opening == "{{" else Kind.TAG, opening, start)
            yield from self._expression(_ENDS[opening], Kind.END, start)

    def _verbatim(self, begin: int, start: int) -> Iterator[Token]:
        end = _END_VERBATIM.search(self.code, begin)
        if end is None:
            self._fail("verbatim is not closed.", start)
        text = self.code[begin : end.start()]
        if end[1]:
            text = text.rstrip(" \t\n\r\0\v") if end[1] == "-" else text.rstrip(" \t\0\v")
        if text:
            yield self._token(Kind.TEXT, text, begin)
        self.at = end.end()

    def _expression(self, until: re.Pattern[str], closing: Kind, start: int) -> Iterator[Token]:
        brackets: list[Token] = []
        while True:
            if not brackets and (end := until.match(self.code, self.at)):
                yield self._token(closing, end[0].strip(), self.at)
                self.at = end.end()
                return
            if blank := _BLANK.match(self.code, self.at):
                self.at = blank.end()
            if self.at >= len(self.code):
                self._fail("This is not closed.", start)
            for token in self._next():
                self._pair(token, brackets)
                yield token

    def _pair(self, token: Token, brackets: list[Token]) -> None:
        if token.kind is not Kind.PUNCTUATION:
            return
        if token.value in _PAIRS:
            brackets.append(token)
        elif token.value in _PAIRS.values():
            if not brackets:
                raise TemplateFailedError(f'"{token.value}" closes nothing.', token.place)
            opened = brackets.pop()
            if _PAIRS[str(opened.value)] != token.value:
                raise TemplateFailedError(f'"{opened.value}" is not closed.', opened.place)

    def _next(self) -> Iterator[Token]:
        code, at = self.code, self.at
        if code.startswith("=>", at):
            yield self._took(Kind.ARROW, "=>", at + 2)
        elif found := _OPERATOR.match(code, at):
            yield self._took(Kind.OPERATOR, " ".join(found[0].split()), found.end())
        elif found := _NAME.match(code, at):
            yield self._took(Kind.NAME, found[0], found.end())
        elif found := _NUMBER.match(code, at):
            yield self._took(Kind.NUMBER, _number(found[0]), found.end())
        elif code[at] in "()[]{}?:.,|":
            yield self._took(Kind.PUNCTUATION, code[at], at + 1)
        elif found := _STRING.match(code, at):
            yield self._took(Kind.STRING, self._unescaped(found[0][1:-1]), found.end())
        elif code[at] == '"':
            yield from self._interpolated()
        else:
            self._fail("This letter stands for nothing here.", at)

    def _interpolated(self) -> Iterator[Token]:
        start = self.at
        self.at += 1
        while not self.code.startswith('"', self.at):
            if self.code.startswith("#{", self.at):
                yield self._took(Kind.INTERPOLATION, "#{", self.at + 2)
                yield from self._expression(re.compile(r"\s*\}"), Kind.END_INTERPOLATION, start)
            elif (part := _PART.match(self.code, self.at)) and part[0]:
                yield self._took(Kind.STRING, self._unescaped(part[0]), part.end())
            else:
                self._fail("A string is not closed.", start)
        self.at += 1

    def _took(self, kind: Kind, value: str | float, end: int) -> Token:
        token = self._token(kind, value, self.at)
        self.at = end
        return token

    def _unescaped(self, text: str) -> str:
        if "\\" not in text:
            return text
        try:
            return _ESCAPE.sub(_letter, text.encode()).decode()
        except UnicodeError:
            self._fail("The string is no UTF-8.", self.at)

    def _token(self, kind: Kind, value: str | float, at: int) -> Token:
        return Token(kind, value, self._place(at))

    def _place(self, at: int) -> Place:
        if at < self._counted:  # a string's start, seen from its end
            return Place(self.code.count("\n", 0, at) + 1, at - self.code.rfind("\n", 0, at))
        self._line += self.code.count("\n", self._counted, at)
        self._line_start = max(self._line_start, self.code.rfind("\n", self._counted, at) + 1)
        self._counted = at
        return Place(self._line, at - self._line_start + 1)

    def _fail(self, reason: str, at: int) -> NoReturn:
        raise TemplateFailedError(reason, self._place(at))


def _number(text: str) -> int | float:
    number = float(text)
    return min(int(text), _LARGEST) if text.isdecimal() and number <= 2.0**63 else number


def _letter(found: re.Match[bytes]) -> bytes:
    """Return the meaning of a backslash, by the rules of PHP's stripcslashes."""
    letter = found[1]
    if letter[:1] == b"x" and len(letter) > 1:
        return bytes([int(letter[1:], 16)])
    if letter[:1].isdigit() and letter[:1] not in b"89":
        return bytes([int(letter, 8) & 255])
    return _LETTERS.get(letter, letter)
