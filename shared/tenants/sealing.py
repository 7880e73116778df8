"""The secrets inside a tenant's document: sealed on the way into the store, opened on the way out.

A secret stands in the document as a map with the single field `$sealed`. A sealed secret opens only in its own field of its own tenant.
Nothing here knows the model of a tenant, so it also reaches the secrets of fields that only a newer revision knows.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import SecretStr

from shared.storage.documents import Value
from shared.storage.encryption import KeyRing

_SEALED = "$sealed"


@dataclass(frozen=True)
class Sealing:
    """Seals and opens the secrets of one tenant."""

    keys: KeyRing
    tenant: str

    def seal(self, path: str, value: Any) -> Value:
        """Return a value as the document holds it, with each secret in it sealed."""
        match value:
            case SecretStr():
                return self._sealed(path, value.get_secret_value())
            case dict():
                return {_escaped(key): self.seal(f"{path}.{key}", item) for key, item in value.items()}
            case list() | tuple():
                return [self.seal(path, item) for item in value]
            case datetime():
                return value.astimezone(UTC)
            case StrEnum():
                return value.value
            case str() | int() | float() | None:
                return value
            case _:
                raise TypeError(f"{path} holds what no document can")

    def open(self, path: str, value: Value) -> Any:
        """Return a value of the document with each secret in it opened.

        Raises:
            UndecryptableError: no key of ours opens one of them.
        """
        match value:
            case {"$sealed": str(sealed)}:
                return SecretStr(self._opened(path, sealed))
            case dict():
                names = {key: _unescaped(key) for key in value}
                return {names[key]: self.open(f"{path}.{names[key]}", item) for key, item in value.items()}
            case list():
                return [self.open(path, item) for item in value]
            case _:
                return value

    def stale(self, value: Value) -> int:
        """Return how many secrets in a value of the document an older key than the first has sealed."""
        match value:
            case {"$sealed": str(sealed)}:
                return not self.keys.is_current(sealed)
            case dict():
                return sum(map(self.stale, value.values()))
            case list():
                return sum(map(self.stale, value))
            case _:
                return 0

    def renewed(self, path: str, value: Value) -> Value:
        """Return a value of the document with each secret in it sealed by the first key.

        Raises:
            UndecryptableError: no key of ours opens one of them.
        """
        match value:
            case {"$sealed": str(sealed)} if not self.keys.is_current(sealed):
                return self._sealed(path, self._opened(path, sealed))
            case {"$sealed": str()}:
                return value
            case dict():
                return {key: self.renewed(f"{path}.{_unescaped(key)}", item) for key, item in value.items()}
            case list():
                return [self.renewed(path, item) for item in value]
            case _:
                return value

    def _sealed(self, path: str, secret: str) -> Value:
        return {_SEALED: self.keys.encrypt(secret, tenant=self.tenant, field=path)}

    def _opened(self, path: str, sealed: str) -> str:
        return self.keys.decrypt(sealed, tenant=self.tenant, field=path)


def _escaped(name: str) -> str:
    # A tenant's own settings may hold any name, but none may pass for the mark of a secret.
    return f"${name}" if name.startswith("$") else name


def _unescaped(name: str) -> str:
    return name.removeprefix("$")
