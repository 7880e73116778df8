"""Secrets in headers, addresses and bodies, and how a page shows them. Pure: texts in, texts out.

A value is a secret because of its name, because of its form, or because it had such a name elsewhere.
"""

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus

HIDDEN = "••••••"
_SHORTEST = 8  # a shorter value is a word that may stand anywhere

# Words of a name, in small letters and without separators: "x-omneo-secret", "idToken", "client_secret".
_NAMES = re.compile(
    r"secret|token|password|passwd|authorization|authenticat|signature|hmac|cookie|credential|assertion|verifier|challenge"
    r"|apikey|accesskey|privatekey|installationkey|encryptionkey|confirmation|jwt|bearer|session"
)
_EXACT = frozenset({"pin", "otp", "auth", "sig", "nonce"})
# In an address or a form these are OAuth's and an install link's; elsewhere they are words like any other.
_PARAMETERS = frozenset({"code", "state", "link", "key"})
# Names that hold such a word and tell no secret.
_PLAIN = frozenset(
    {"tokentype", "tokenexpiresat", "tokenexpiry", "withtoken", "statecode", "expiresin", "tokenseconds"}
)
_LOOKS = re.compile(
    r"\beyJ[\w-]{8,}(?:\.[\w-]+){0,4}"  # a JSON web token
    r"|\b(?:sandbox|oik|pk|sk|whsec)[_-][\w-]{12,}"  # keys that say in front what they are
    r"|(?<=Bearer )\S+|(?<=Basic )\S+"
)
_QUERY = re.compile(r"([?&;]|&amp;|\\u0026)([\w.%\[\]-]{1,64})=([^&\s\"'<>#;\\]+)")
_INPUT = re.compile(r"<input\b[^>]{0,2000}>", re.IGNORECASE)
_VALUE = re.compile(r"(value=)(\"[^\"]*\"|'[^']*')", re.IGNORECASE)


def is_secret(name: str, *, parameter: bool = False) -> bool:
    """Return whether the value under this name is secret. The name is of a header, a field, or a `parameter` of an
    address or a form.

    >>> [is_secret(name) for name in ("X-Omneo-Secret", "omneo_id_token", "klaviyo-signature", "email")]
    [True, True, True, False]
    """
    bare = re.sub(r"[^a-z0-9]", "", name.lower())
    exact = _EXACT | _PARAMETERS if parameter else _EXACT
    return bare not in _PLAIN and (bare in exact or _NAMES.search(bare) is not None)


class Mask:
    """Hides secrets. It learns values where they stand under a secret's name, and hides them wherever else they stand."""

    def __init__(self, known: Iterable[str] = (), *, most: int = 300) -> None:
        self._most = most
        self._always = [form for value in known for form in _forms(value)]
        self._learned: dict[str, None] = {}
        self._lock = threading.Lock()
        self._pattern = _any_of(self._always)
        self._is_old = False

    def learn(self, value: str) -> None:
        """Hide this value from now on, also in its form in an address.

        If there are too many, the oldest are forgotten.
        """
        with self._lock:
            new = [form for form in _forms(value) if form not in self._learned and form not in self._always]
            if not new:
                return
            self._learned.update(dict.fromkeys(new))
            while len(self._learned) > self._most:
                self._learned.pop(next(iter(self._learned)))
            self._is_old = True

    def headers(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the headers as a page shows them."""
        return [(name, self._header(name, value)) for name, value in headers]

    def text(self, text: str) -> str:
        """Return a text, an address say, as a page shows it."""
        shown = _QUERY.sub(self._parameter, text)
        shown = _LOOKS.sub(HIDDEN, shown)
        with self._lock:
            if self._is_old:
                self._pattern, self._is_old = _any_of([*self._always, *self._learned]), False
            pattern = self._pattern
        return pattern.sub(HIDDEN, shown) if pattern else shown

    def body(self, body: bytes, kind: str) -> str:
        """Return a body as a page shows it: JSON with a field a line, a form with a field a line, anything else as it is.

        `kind` is its media type.
        """
        text = body.decode("utf-8", errors="replace")
        if kind.startswith("application/x-www-form-urlencoded"):
            return "\n".join(self._field(part) for part in text.split("&"))
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return self.text(_INPUT.sub(_hide_value, self._cut_json(text)))
        return self.text(json.dumps(self._value(value), indent=2, ensure_ascii=False))

    def _header(self, name: str, value: str) -> str:
        if not is_secret(name):
            return self.text(value)
        scheme, space, rest = value.partition(" ")
        for part in (value, rest):
            self.learn(part)
        return f"{scheme} {HIDDEN}" if space and scheme in ("Bearer", "Basic", "Klaviyo-API-Key") else HIDDEN

    def _value(self, value: Any, name: str = "") -> Any:
        if isinstance(value, Mapping):
            named = value.get("name")
            return {
                key: self._value(item, str(named) if key == "value" and isinstance(named, str) else str(key))
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self._value(item, name) for item in value]
        if name and is_secret(name) and isinstance(value, str) and value:
            self.learn(value)
            return HIDDEN
        return self._inner(value) if isinstance(value, str) else value

    def _inner(self, text: str) -> str:
        """Return a text in which JSON may stand as a text, as a target's template does."""
        if text[:1] in "{[" and len(text) > 2:
            try:
                return json.dumps(self._value(json.loads(text)), ensure_ascii=False)
            except (ValueError, RecursionError):
                return text
        return text

    def _cut_json(self, text: str) -> str:
        """Hide the value under a secret's name in JSON that is cut off or broken."""
        return _PAIR.sub(self._pair, text)

    def _pair(self, found: re.Match[str]) -> str:
        if not is_secret(found[1]):
            return found[0]
        self.learn(found[3])
        return f'"{found[1]}"{found[2]}"{HIDDEN}"'

    def _parameter(self, found: re.Match[str]) -> str:
        if not is_secret(unquote_plus(found[2]), parameter=True):
            return found[0]
        self.learn(unquote_plus(found[3]))
        return f"{found[1]}{found[2]}={HIDDEN}"

    def _field(self, part: str) -> str:
        name, _, value = (unquote_plus(word) for word in part.partition("="))
        if is_secret(name, parameter=True):
            self.learn(value)
            return f"{name}={HIDDEN}"
        return f"{name}={self.text(value)}"


_PAIR = re.compile(r'"([\w.-]{1,64})"(\s*:\s*)"((?:[^"\\]|\\.)*)(?:"|$)')


def _forms(value: str) -> set[str]:
    """Return the forms of a value in a text, in an address and in JSON.

    A value that is so short that it may be a word has no forms.
    """
    forms = {value, quote(value, safe=""), quote_plus(value), value.replace("/", "\\/")}
    return {form for form in forms if len(form) >= _SHORTEST}


def _any_of(words: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def _hide_value(found: re.Match[str]) -> str:
    field: Callable[[re.Match[str]], str] = lambda value: f'{value[1]}"{HIDDEN}"'  # noqa: E731 - one word of a pattern
    return _VALUE.sub(field, found[0])
