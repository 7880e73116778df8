"""The filters of plain texts."""

import re
from collections.abc import Mapping

from deploy.local.sandbox.omneo.twig.filters.arguments import Filter, items_of, string
from deploy.local.sandbox.omneo.twig.php import Value, text
from deploy.local.sandbox.omneo.twig.refusals import Refusal
from deploy.local.sandbox.omneo.twig.scope import Scope

_BLANKS = " \t\n\r\0\v"


def _upper(scope: Scope, string_: Value) -> Value:
    return string(string_).upper()


def _lower(scope: Scope, string_: Value) -> Value:
    return _lowered(string(string_))


def _lowered(given: str) -> str:
    if "\u03a3" in given or "\u0130" in given:
        raise Refusal("Letters that become small by their place in the word are not known here.")
    return given.lower()


def _capitalize(scope: Scope, string_: Value) -> Value:
    given = string(string_)
    return given[:1].upper() + _lowered(given[1:])


def _title(scope: Scope, string_: Value) -> Value:
    given = string(string_)
    if not given.isascii():
        raise Refusal("|title of letters beyond ASCII is not known here.")
    return re.sub(r"[A-Za-z][A-Za-z'.:^`]*", lambda word: word[0][:1].upper() + word[0][1:].lower(), given)


def _trim(scope: Scope, string_: Value, character_mask: Value = None, side: Value = "both") -> Value:
    given, mask = string(string_), _BLANKS if character_mask is None else string(character_mask)
    if ".." in mask or not mask.isascii():
        raise Refusal("trim takes plain letters here, without a range.")
    match side:
        case "both":
            return given.strip(mask) if mask else given
        case "left":
            return given.lstrip(mask) if mask else given
        case "right":
            return given.rstrip(mask) if mask else given
        case _:
            raise Refusal('The side of trim is "left", "right" or "both".')


def _replace(scope: Scope, str_: Value, from_: Value) -> Value:
    given, pairs = (
        string(str_),
        {text(name): string(value) for name, value in items_of(from_, "replace").items()},
    )
    pairs.pop("", None)
    if not pairs:
        return given
    scope.budget.take(len(given) * len(pairs) // 50)
    longest_first = sorted(pairs, key=lambda name: (-len(name.encode()), name))
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    # The room is made before the text is.
    scope.budget.take(len(given) + sum(len(pairs[match[0]]) for match in pattern.finditer(given)))
    return pattern.sub(lambda match: pairs[match[0]], given)


TEXT_FILTERS: Mapping[str, Filter] = {
    "capitalize": _capitalize,
    "lower": _lower,
    "replace": _replace,
    "title": _title,
    "trim": _trim,
    "upper": _upper,
}
