"""Loads the fixtures; each has a module of its own."""

pytest_plugins = [
    "tests.support.canary",
    "tests.support.emulators",
    "tests.support.examples",
    "tests.support.garbage",
    "tests.support.loading",
    "tests.support.reports",
    "tests.support.sharing_out",
    "tests.support.signals",
    "tests.support.stores",
    "tests.support.temporary",
    "tests.support.world",
]
