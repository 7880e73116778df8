"""The newest stories, found by the keys of their calls and jobs. What a story says is decided in stories.py."""

from collections import OrderedDict
from dataclasses import replace
from itertools import count
from typing import Any

from deploy.local.console.reports import Line
from deploy.local.console.story import Filter, Step, Story

STORIES = 600
STEPS = 80
_KEYS = 20_000  # the key of a forgotten call is kept, so that a late report of it starts no story without a beginning


class Shelf:
    """Keeps the newest stories; if there are too many, the oldest are forgotten. `changes` counts the changes of all of them."""

    def __init__(self) -> None:
        self.changes = 0
        self.total = 0
        self._numbers = count(1)
        self._steps = count(1)
        self._stories: OrderedDict[int, Story] = OrderedDict()
        self._by_key: OrderedDict[str, Story] = OrderedDict()

    def newest(self, wanted: Filter, most: int, *, since: int = -1) -> list[Story]:
        """Return the newest stories that are wanted and have changed after `since`, the newest first."""
        found = sorted(filter(wanted.takes, self._stories.values()), key=lambda story: story.began_at)
        return [story for story in reversed(found[-most:]) if story.changed > since]

    def unwanted(self, wanted: Filter, *, since: int) -> list[int]:
        """Return the numbers of the stories that have changed after `since` and that the filter does not want."""
        stories = self._stories.values()
        return [story.number for story in stories if story.changed > since and not wanted.takes(story)]

    def story(self, number: int) -> Story | None:
        """Return a story by its number."""
        return self._stories.get(number)

    def tenants(self) -> list[str]:
        """Return the tenants of the stories."""
        return sorted({story.tenant for story in self._stories.values()} - {""})

    def _story(self, key: str, began_at: float) -> Story:
        found = self._by_key.get(key)
        if found is None:
            found = Story(next(self._numbers), began_at)
            self.total += 1
            self._stories[found.number] = found
            while len(self._stories) > STORIES:
                _, forgotten = self._stories.popitem(last=False)
                forgotten.steps.clear()
                forgotten.people.clear()
        if key:
            self._by_key[key] = found
        while len(self._by_key) > _KEYS:
            self._by_key.popitem(last=False)
        self._touch(found)
        return found

    def _touch(self, story: Story) -> None:
        self.changes += 1
        story.changed = self.changes

    def _hide(self, story: Story) -> None:
        if not story.hidden:
            story.hidden = True
            self.total -= 1
            self._touch(story)

    def _change(self, line: Line, **changes: Any) -> None:
        """Let a line's step say more."""
        for place, step in enumerate(line.story.steps):
            if step.number == line.step:
                line.story.steps[place] = replace(step, **changes)
                self._touch(line.story)

    def _add(self, story: Story, step: Step) -> int:
        """Add a step, unless there are too many or the story is forgotten, and return its number."""
        number = next(self._steps)
        if story.number in self._stories and len(story.steps) < STEPS:
            story.steps.append(replace(step, number=number))
        self._touch(story)
        return number
