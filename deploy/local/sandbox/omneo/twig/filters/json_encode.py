"""The filter json_encode, and PHP's constants for it."""

import json
from collections.abc import Mapping

from deploy.local.sandbox.omneo.twig.filters.arguments import Filter
from deploy.local.sandbox.omneo.twig.php import Array, Value, float_text, is_list, whole
from deploy.local.sandbox.omneo.twig.refusals import Refusal
from deploy.local.sandbox.omneo.twig.scope import Scope

# PHP's constants of json_encode.
JSON_CONSTANTS: Mapping[str, int] = {
    "JSON_HEX_TAG": 1,
    "JSON_HEX_AMP": 2,
    "JSON_HEX_APOS": 4,
    "JSON_HEX_QUOT": 8,
    "JSON_FORCE_OBJECT": 16,
    "JSON_UNESCAPED_SLASHES": 64,
    "JSON_PRETTY_PRINT": 128,
    "JSON_UNESCAPED_UNICODE": 256,
    "JSON_PRESERVE_ZERO_FRACTION": 1024,
}


def _json_encode(scope: Scope, value: Value, flags: Value = 0, depth: Value = 512) -> Value:
    bits = whole(flags)
    known = sum(JSON_CONSTANTS.values())
    if bits & ~known:
        raise Refusal("json_encode does not know this option here.")
    written = _Json(bits).written(value, 0)
    scope.budget.take(len(written))
    return written


class _Json:
    """PHP's json_encode with these options."""

    def __init__(self, bits: int) -> None:
        self._has = {name: bool(bits & bit) for name, bit in JSON_CONSTANTS.items()}

    def written(self, value: Value, depth: int) -> str:
        match value:
            case None | bool():
                return json.dumps(value)
            case int():
                return str(value)
            case float():
                return self._float(value)
            case str():
                return self._string(value)
            case dict():
                return self._items(value, depth + 1)
            case _:
                raise Refusal("A date or a function is not written as JSON here.")

    def _float(self, value: float) -> str:
        written = float_text(value, None, "e")
        if "N" in written:
            raise Refusal("JSON has no such number.")
        is_whole = self._has["JSON_PRESERVE_ZERO_FRACTION"] and written.lstrip("-").isdecimal()
        return f"{written}.0" if is_whole else written

    def _string(self, value: str) -> str:
        written = json.dumps(value, ensure_ascii=not self._has["JSON_UNESCAPED_UNICODE"]).replace(
            "\x7f", "\x7f"
        )
        written = written.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
        pairs = (
            ("JSON_HEX_TAG", "<", "\\u003C"),
            ("JSON_HEX_TAG", ">", "\\u003E"),
            ("JSON_HEX_AMP", "&", "\\u0026"),
            ("JSON_HEX_APOS", "'", "\\u0027"),
            ("JSON_HEX_QUOT", '\\"', "\\u0022"),
        )
        for name, plain, escaped in pairs:
            if self._has[name]:
                written = written.replace(plain, escaped)
        return written if self._has["JSON_UNESCAPED_SLASHES"] else written.replace("/", "\\/")

    def _items(self, items: Array, depth: int) -> str:
        as_list = is_list(items) and not self._has["JSON_FORCE_OBJECT"]
        opened, closed = "[]" if as_list else "{}"
        pretty = self._has["JSON_PRETTY_PRINT"]
        colon = ": " if pretty else ":"
        parts = [
            self.written(item, depth)
            if as_list
            else f"{self._string(str(name))}{colon}{self.written(item, depth)}"
            for name, item in items.items()
        ]
        if not pretty or not parts:
            return opened + ",".join(parts) + closed
        inner = ",\n".join("    " * depth + part for part in parts)
        return f"{opened}\n{inner}\n{'    ' * (depth - 1)}{closed}"


JSON_FILTERS: Mapping[str, Filter] = {
    "json_encode": _json_encode,
}
