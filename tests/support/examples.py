"""Which examples Hypothesis tries: the same at every run, on every machine, for any number of processes. So a test that
has passed passes again. `--hypothesis-profile=new` searches other examples, and remembers its findings.
"""

from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

SAME, NEW = "same", "new"

# How long an example takes says something of the machine, not of the rule.
settings.register_profile(
    NEW,
    parent=settings(derandomize=False, database=settings.get_profile("default").database),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.register_profile(SAME, parent=settings.get_profile(NEW), derandomize=True, database=None)
settings.load_profile(SAME)

_constants_of_modules = providers._get_local_constants


def _constants() -> Constants:
    """Return the constants from which examples are made. Constants of the product are left out: a process loads
    different modules for different tests, and would try different examples.
    """
    if settings.get_current_profile_name().startswith(SAME):
        return Constants()
    return _constants_of_modules()


providers._get_local_constants = _constants
