"""A field of documents that holds personal data: compressed, then encrypted.

Typed stores use it (`records/outbox.py`, `metrics/backlog.py`). Nothing here knows what the field means.
"""

import zlib
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import DocumentChangedError, DocumentMissingError, UndecryptableError
from shared.storage.documents import Document, Documents, each_document
from shared.storage.encryption import KeyRing


@dataclass(frozen=True)
class SealedField:
    """One field by its `name`. A value that is sealed under one `context` does not open under another."""

    documents: Documents
    keys: KeyRing
    name: str
    context: str

    def seal(self, tenant: str, plain: bytes) -> str:
        """Return what the document is to hold."""
        return self.keys.encrypt_bytes(zlib.compress(plain), tenant=tenant, field=self.context)

    def open(self, tenant: str, document: Document) -> bytes:
        """Return what was sealed.

        Raises:
            UndecryptableError: no key of ours opens it.
        """
        sealed = str(document.fields[self.name])
        return zlib.decompress(self.keys.decrypt_bytes(sealed, tenant=tenant, field=self.context))

    def reencrypt(self, tenant: str, collection: str, *, at_once: int, dry_run: bool) -> int:
        """Seal with the first key what an older one sealed, reading so many documents at once; return how many were due.

        Raises:
            UndecryptableError: no key of ours opens some; all others were written.
        """
        due, unreadable = 0, None
        for document in each_document(self.documents, collection, at_once=at_once):
            if self.keys.is_current(str(document.fields[self.name])):
                continue
            due += 1
            if dry_run:
                continue
            try:
                self._renew(tenant, collection, document)
            except UndecryptableError as error:
                unreadable = error
        if unreadable is not None:
            raise unreadable
        return due

    def _renew(self, tenant: str, collection: str, document: Document) -> None:
        sealed = self.seal(tenant, self.open(tenant, document))
        # Taken out meanwhile, or renewed by another run of the same command: nothing is left to do.
        with suppress(DocumentMissingError, DocumentChangedError):
            self.documents.update(collection, document.id, {self.name: sealed}, version=document.version)
