"""The resources that a template may use: steps, which bound its time, and letters and items, which bound its memory.

A real template takes some hundred steps. The bounds let the worst end within a second and 50 MB.
"""

from collections.abc import Sized
from dataclasses import dataclass

from deploy.local.sandbox.omneo.twig.refusals import Refusal

STEPS = 50_000
# Letters of text that is made, and items of arrays, each counted as so many.
ROOM = 2_000_000
ITEM = 20
LONGEST_TEMPLATE = 100_000
DEEPEST = 40
# The most that stands in one array, with all that stands in the arrays within it, each as often as it is found there.
HEAVIEST = 20_000
# Letters that are read for a step: to look whether a text is a number, or stands in another, goes through all of it.
LETTERS = 200


@dataclass
class Budget:
    """The resources that one rendering has left."""

    steps: int = STEPS
    room: int = ROOM

    def step(self) -> None:
        """Take a step.

        Raises:
            Refusal: there is none left.
        """
        self.steps -= 1
        if self.steps < 0:
            raise Refusal("The template computes more than a target may.")

    def weigh(self, *values: object) -> None:
        """Take steps for every part of these values: a loop over them visits each.

        Raises:
            Refusal: one of them holds too much, or there are no steps left.
        """
        for value in values:
            if isinstance(value, dict):
                self.steps -= _weight(value)
            elif isinstance(value, str):
                self.steps -= len(value) // LETTERS
        self.step()

    def copy(self, variables: Sized) -> None:
        """Take steps for the copying of the variables."""
        self.steps -= len(variables) // 50
        self.step()

    def take(self, letters: int = 0, *, items: int = 0) -> None:
        """Make room for text and arrays that are about to be made.

        Raises:
            Refusal: there is none left.
        """
        self.room -= letters + ITEM * items
        self.steps -= items // 10
        if self.room < 0:
            raise Refusal("The template makes more text than a target may.")
        self.step()


def _weight(array: dict[object, object]) -> int:
    """Return the steps that it takes to go through all that stands in an array."""
    found, letters, left = 0, 0, [array]
    while left:
        one = left.pop()
        found += len(one)
        if found > HEAVIEST:
            raise Refusal("An array holds more than a target may make.")
        left += [inner for inner in one.values() if isinstance(inner, dict)]
        letters += sum(len(inner) for inner in one.values() if isinstance(inner, str))
    return found // 10 + letters // LETTERS
