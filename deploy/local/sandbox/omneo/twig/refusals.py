"""How a template fails: where and why, without values."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Place:
    """A place in a template: the line and the column, both from 1."""

    line: int
    column: int


class TemplateFailedError(Exception):
    """The template cannot be parsed or rendered. `reason` names the fault and its cause, `place` its position."""

    def __init__(self, reason: str, place: Place) -> None:
        super().__init__(f"line {place.line}, column {place.column}: {reason}")
        self.reason = reason
        self.place = place


class Refusal(Exception):  # noqa: N818 - it is no error of ours: whoever knows the place makes a TemplateFailedError of it
    """The reason why an operation fails, before its place is known."""
