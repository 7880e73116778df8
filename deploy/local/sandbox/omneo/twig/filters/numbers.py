"""The filters of numbers and dates."""

import math
from collections.abc import Mapping

from deploy.local.sandbox.omneo.twig.date_format import php_date
from deploy.local.sandbox.omneo.twig.dates import modified, read_moment
from deploy.local.sandbox.omneo.twig.filters.arguments import Filter, string
from deploy.local.sandbox.omneo.twig.numbers import number_format, round_half_up
from deploy.local.sandbox.omneo.twig.php import Value, cast, number, whole
from deploy.local.sandbox.omneo.twig.refusals import Refusal
from deploy.local.sandbox.omneo.twig.scope import Scope
from deploy.local.sandbox.omneo.twig.zones import zone_named


def _number_format(
    scope: Scope,
    number: Value,
    decimal: Value = None,
    decimal_point: Value = None,
    thousand_sep: Value = None,
) -> Value:
    return number_format(
        number,
        0 if decimal is None else whole(decimal),
        "." if decimal_point is None else string(decimal_point),
        "," if thousand_sep is None else string(thousand_sep),
    )


def _round(scope: Scope, value: Value, precision: Value = 0, method: Value = "common") -> Value:
    given, places = cast(value), whole(precision)
    if abs(places) > 50:
        raise Refusal("round takes at most 50 places.")
    if method == "common":
        return round_half_up(given, places)
    if method not in ("ceil", "floor"):
        raise Refusal('The method of round is "common", "ceil" or "floor".')
    moved = given * 10.0**places if places >= 0 else given * (10**places)
    if not math.isfinite(moved):
        return moved
    turned = math.ceil(moved) if method == "ceil" else math.floor(moved)
    return math.copysign(turned, moved) / (10.0**places)  # of -0.5 up it is -0, which PHP writes so


def _abs(scope: Scope, num: Value) -> Value:
    return abs(number(num))


def _date(scope: Scope, date: Value, format: Value = None, timezone: Value = None) -> Value:
    zone = (
        zone_named("UTC") if timezone is None else None if timezone is False else zone_named(string(timezone))
    )
    return php_date(read_moment(date, scope.now, zone), "F j, Y H:i" if format is None else string(format))


def _date_modify(scope: Scope, date: Value, modifier: Value) -> Value:
    return modified(read_moment(date, scope.now, None), string(modifier))


NUMBER_FILTERS: Mapping[str, Filter] = {
    "abs": _abs,
    "date": _date,
    "date_modify": _date_modify,
    "number_format": _number_format,
    "round": _round,
}
