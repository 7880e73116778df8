"""When Python looks for garbage: not during the collection of tests, and seldom while tests run. The collection makes
about a million objects that stay to the end. To look through them again and again costs more than the tests' garbage.
Unclosed resources are still found, at the next look or at the end of the run.
"""

import gc

_NEW_OBJECTS, _YOUNG_LOOKS, _OLD_LOOKS = 50_000, 20, 20

gc.disable()


def pytest_collection_finish() -> None:
    """Leave the present objects out of every later look."""
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _YOUNG_LOOKS, _OLD_LOOKS)
    gc.enable()
