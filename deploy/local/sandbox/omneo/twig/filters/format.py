"""The filter format, which is PHP's sprintf."""

import re
from collections.abc import Mapping

from deploy.local.sandbox.omneo.twig.filters.arguments import Filter, string
from deploy.local.sandbox.omneo.twig.php import Value, cast
from deploy.local.sandbox.omneo.twig.refusals import Refusal
from deploy.local.sandbox.omneo.twig.scope import Scope


def _format(scope: Scope, format: Value, *values: Value) -> Value:
    written, left = string(format), iter(values)

    def one(found: re.Match[str]) -> str:
        if found["kind"] == "%":
            return "%"
        try:
            return _formatted(found, next(left))
        except StopIteration:
            raise Refusal("format has fewer values than its text asks for.") from None

    directive = r"%(?P<plus>\+)?(?P<pad>0|'.)?(?P<left>-)?(?P<width>\d{1,3})?(?:\.(?P<places>\d{1,2}))?(?P<kind>[%sdfFuxXobc])"
    if re.sub(directive, "", written).count("%"):
        raise Refusal(
            "format knows %s, %d, %f, %u, %x, %X, %o, %b and %c here, each with a width of up to three digits."
        )
    return re.sub(directive, one, written)


def _formatted(found: re.Match[str], value: Value) -> str:
    kind, pad = found["kind"], (found["pad"] or " ")[-1]
    if kind == "s":
        written = string(value)
        if found["places"] is not None:
            written = written[: int(found["places"])]
    elif kind in "fF":
        places = int(found["places"] or 6)
        written = f"{cast(value):.{places}f}"
    elif kind == "c":
        raise Refusal("format knows no %c here.")
    else:
        written = _whole_formatted(kind, int(cast(value)))
    if found["plus"] and kind in "dfF" and not written.startswith("-"):
        written = f"+{written}"
    return _padded(written, int(found["width"] or 0), pad, bool(found["left"]))


def _whole_formatted(kind: str, value: int) -> str:
    if kind == "d":
        return str(value)
    return f"{value % 2**64:{'d' if kind == 'u' else kind}}"


def _padded(written: str, width: int, pad: str, to_the_left: bool) -> str:
    missing = pad * max(0, width - len(written.encode()))
    if to_the_left:
        if pad == "0":
            raise Refusal("format does not fill up with zeros on the right here.")
        return written + missing
    is_signed = pad == "0" and written[:1] in ("+", "-")
    return written[0] + missing + written[1:] if is_signed else missing + written


FORMAT_FILTERS: Mapping[str, Filter] = {
    "format": _format,
}
