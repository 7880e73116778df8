"""Twig's filters, each by the names that Twig gives it and its arguments. A filter uses only its arguments.

A filter is called with the scope, the value and its arguments. It raises `Refusal` where PHP would fail, or if its
result may differ from PHP's.
"""

from collections.abc import Mapping

from deploy.local.sandbox.omneo.twig.filters.arguments import Filter
from deploy.local.sandbox.omneo.twig.filters.arrays import ARRAY_FILTERS
from deploy.local.sandbox.omneo.twig.filters.escaping import ESCAPING_FILTERS
from deploy.local.sandbox.omneo.twig.filters.format import FORMAT_FILTERS
from deploy.local.sandbox.omneo.twig.filters.json_encode import JSON_FILTERS
from deploy.local.sandbox.omneo.twig.filters.numbers import NUMBER_FILTERS
from deploy.local.sandbox.omneo.twig.filters.texts import TEXT_FILTERS
from deploy.local.sandbox.omneo.twig.php import Value, is_empty
from deploy.local.sandbox.omneo.twig.scope import Scope


def _default(scope: Scope, value: Value, default: Value = "") -> Value:
    return default if is_empty(value) else value


def _raw(scope: Scope, value: Value) -> Value:
    return value


FILTERS: Mapping[str, Filter] = {
    "default": _default,
    "raw": _raw,
    **ARRAY_FILTERS,
    **ESCAPING_FILTERS,
    **FORMAT_FILTERS,
    **JSON_FILTERS,
    **NUMBER_FILTERS,
    **TEXT_FILTERS,
}
