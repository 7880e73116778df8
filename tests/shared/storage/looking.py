"""Reading a document store in its tests, and letting many callers at it at once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from shared.errors import ExtensionError
from shared.storage.documents import Document, Documents


def read(documents: Documents, collection: str, id: str) -> Document:
    document = documents.get(collection, id)
    assert document is not None
    return document


def ids(found: list[Document]) -> list[str]:
    return [document.id for document in found]


def outcomes(callers: int, call: Callable[[int], None]) -> list[str]:
    """Return "won" or the error's name for each of the callers, all let go at the same moment."""
    start = threading.Barrier(callers)

    def caller(number: int) -> str:
        start.wait(timeout=60)
        try:
            call(number)
        except ExtensionError as error:
            return type(error).__name__
        return "won"

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(caller, range(callers)))
