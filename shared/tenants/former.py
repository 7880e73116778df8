"""The only thing that stays of a deleted tenant: the key of its consent ledger. Without it nobody could find a record of the ledger again.

The key is sealed like a tenant's own secrets. It is removed when the last record of the ledger has expired.
"""

from collections.abc import Iterator
from datetime import datetime

from pydantic import SecretStr

from shared.errors import DocumentChangedError, DocumentExistsError
from shared.storage.documents import Document, Documents, Value, each_document
from shared.storage.encryption import KeyRing

COLLECTION = "former_tenants"
_KEY = "ledger_key"


class FormerTenants:
    """Keeps ledger keys by the names of deleted tenants."""

    def __init__(self, documents: Documents, keys: KeyRing) -> None:
        self._documents = documents
        self._keys = keys

    def keep(self, name: str, ledger_key: SecretStr, until: datetime) -> None:
        """Keep the key of the tenant's ledger."""
        fields: dict[str, Value] = {
            _KEY: self._sealed(name, ledger_key.get_secret_value()),
            "expire_at": until,
        }
        try:
            self._documents.create(COLLECTION, name, fields)
        except DocumentExistsError:
            self._documents.update(COLLECTION, name, fields)

    def ledger_key(self, name: str) -> SecretStr | None:
        """Return the key of the ledger that a deleted tenant of this name has left, None if there is none."""
        found = self._documents.get(COLLECTION, name)
        return None if found is None else SecretStr(self._opened(found))

    def forget(self, name: str) -> None:
        """Forget the key."""
        self._documents.delete(COLLECTION, name)

    def names(self) -> Iterator[str]:
        """Yield the names of the deleted tenants that have left a ledger, in order."""
        return (document.id for document in each_document(self._documents, COLLECTION))

    def reencrypt(self, name: str, *, dry_run: bool = False) -> int:
        """Seal the key again with the first key if an older one sealed it, and return whether one did."""
        found = self._documents.get(COLLECTION, name)
        if found is None or self._keys.is_current(str(found.fields[_KEY])):
            return 0
        if not dry_run:
            renewed: dict[str, Value] = {_KEY: self._sealed(name, self._opened(found))}
            try:
                self._documents.update(COLLECTION, name, renewed, version=found.version)
            except DocumentChangedError:
                return 1  # kept anew, with the first key, or forgotten
        return 1

    def _sealed(self, name: str, key: str) -> str:
        return self._keys.encrypt(key, tenant=name, field=f"former.{_KEY}")

    def _opened(self, found: Document) -> str:
        return self._keys.decrypt(str(found.fields[_KEY]), tenant=found.id, field=f"former.{_KEY}")
