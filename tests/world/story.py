"""A history as a person can read it, and as it can be written down."""

from tests.world.history import Lived
from tests.world.plans import Plan


def told(lived: Lived) -> str:
    """Return the story, with minutes and seconds since the history began."""
    lines = [f"{_clock(at)}  {text}" for at, text in lived.story]
    return "\n".join([*lines, "", *lived.broken])


def written(plan: Plan) -> str:
    """Return the plan as Python, fit for a named test."""
    usual = Plan()
    parts = {name: value for name, value in vars(plan).items() if value != getattr(usual, name)}
    return "Plan(\n" + "".join(f"    {name}={value!r},\n" for name, value in parts.items()) + ")"


def _clock(seconds: float) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    clock = f"{int(minutes):02}:{left:04.1f}"
    return f"{int(hours)}:{clock}" if hours else clock
