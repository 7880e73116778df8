"""Loads the fixtures; each has a module of its own."""

pytest_plugins = [
    "tests.canary",
    "tests.emulators",
    "tests.loading",
    "tests.reports",
    "tests.stores",
    "tests.world",
]
