"""Loads the fixtures; each has a module of its own."""

from hypothesis import settings

pytest_plugins = [
    "tests.support.canary",
    "tests.support.emulators",
    "tests.support.garbage",
    "tests.support.loading",
    "tests.support.reports",
    "tests.support.sharing_out",
    "tests.support.stores",
    "tests.support.temporary",
    "tests.support.world",
]

# How long an example takes says something of the machine, not of the rule. The rest is Hypothesis's own: in CI the examples are the
# same at every run.
settings.register_profile("unhurried", parent=settings(), deadline=None)
settings.load_profile("unhurried")
