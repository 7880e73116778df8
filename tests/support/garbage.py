"""When Python looks for garbage: not while tests are collected, and seldom while they run.

What collection makes stays to the end, a million objects or so. To go through them again and again costs more than the tests that make
garbage. Whatever is left unclosed is still found, at the next look or at the end of the run.
"""

import gc

_NEW_OBJECTS, _YOUNG_LOOKS, _OLD_LOOKS = 50_000, 20, 20

gc.disable()


def pytest_collection_finish() -> None:
    """Leave what is there out of every later look."""
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _YOUNG_LOOKS, _OLD_LOOKS)
    gc.enable()
