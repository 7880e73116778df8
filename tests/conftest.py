"""Loads the fixtures; each has a module of its own."""

from hypothesis import settings

pytest_plugins = [
    "tests.canary",
    "tests.emulators",
    "tests.loading",
    "tests.reports",
    "tests.stores",
    "tests.world",
]

# How long an example takes says something of the machine, not of the rule.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
