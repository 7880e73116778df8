"""Writes a dead job into a document and reads it from one. dead_jobs.py decides when, and what it means."""

import zlib
from datetime import datetime, timedelta
from typing import Any

from shared.jobs.dead_job import DeadJob, DeadJobState
from shared.jobs.rules.causes import Cause
from shared.storage.documents import Document, Value
from shared.storage.encryption import KeyRing

_BODY = "dead_job.body"
_DETAIL = "dead_job.detail"


class SealedRows:
    """Rows with an encrypted body and detail."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def write(self, dead: DeadJob, keep: timedelta) -> dict[str, Value]:
        """Return the fields of a row for a job that has died for the first time. The store forgets the row after `keep`."""
        return self.sealed(dead) | {
            "kind": dead.kind,
            "reason": dead.reason,
            "attempts": dead.attempts,
            "died_at": dead.died_at,
            "expire_at": dead.died_at + keep,
            "request_id": dead.request_id,
            "cause": dead.cause.value,
            "metric": dead.metric,
            "call": dead.call,
            "profiles": list(dead.profiles),
            "accepted_at": dead.accepted_at,
            "first_died_at": None,
            "deaths": 1,
            "state": DeadJobState.DEAD.value,
            "replay": dead.replay,
            "run": dead.run,
            "replayed_at": None,
        }

    def sealed(self, dead: DeadJob) -> dict[str, Value]:
        """Return the body and the detail, encrypted with the first key.

        A job may hold 900 KB and a document 1 MiB, and base64 makes the ciphertext longer: the body fits only when it is compressed.
        """
        body = zlib.compress(dead.body)
        return {
            "detail": self._keys.encrypt(dead.detail, tenant=dead.tenant, field=_DETAIL),
            "body": self._keys.encrypt_bytes(body, tenant=dead.tenant, field=_BODY),
        }

    def is_current(self, document: Document) -> bool:
        """Return whether the first key has encrypted everything in the row."""
        return all(self._keys.is_current(str(document.fields[name])) for name in ("detail", "body"))

    def read(self, tenant: str, document: Document) -> DeadJob:
        """Return the whole dead job.

        Raises:
            UndecryptableError: no key of ours decrypts it.
        """
        fields = document.fields
        opened = {
            "detail": self._keys.decrypt(str(fields["detail"]), tenant=tenant, field=_DETAIL),
            "body": zlib.decompress(
                self._keys.decrypt_bytes(str(fields["body"]), tenant=tenant, field=_BODY)
            ),
        }
        return read_unsealed(tenant, document).model_copy(update=opened)


def read_unsealed(tenant: str, document: Document) -> DeadJob:
    """Return a dead job without body and detail, which needs no key. A document of an earlier revision lacks some fields."""
    known: dict[str, Any] = {
        name: value for name, value in document.fields.items() if value is not None and name != "request_id"
    }
    if known.get("cause") not in set(Cause):
        known.pop("cause", None)  # from a newer revision that was rolled back
    return DeadJob.model_validate(
        {
            **known,
            "request_id": str(document.fields.get("request_id") or ""),
            "id": document.id,
            "tenant": tenant,
            "detail": "",
            "body": b"",
        }
    )


def is_new_death(found: Document, dead: DeadJob) -> bool:
    """Return whether the job of a row has died again. Otherwise the same death is recorded twice."""
    if dead.replay:
        return is_under_way(found, dead.replay)
    known = found.fields.get("accepted_at")
    if dead.accepted_at is None:
        return False
    return not isinstance(known, datetime) or dead.accepted_at > known


def kept_at_a_new_death(found: Document, dead: DeadJob) -> dict[str, Value]:
    """Return the fields that a row keeps when its job dies again: its history, and the fields of a replay whose body was not read."""
    earlier = found.fields
    history: dict[str, Value] = {
        "first_died_at": earlier.get("first_died_at") or earlier["died_at"],
        "deaths": int(str(earlier.get("deaths", 1))) + 1,
        "run": str(earlier.get("run", "")) if dead.replay else "",
    }
    if not dead.replay or dead.cause is not Cause.UNREAD:
        return history
    known = ("kind", "body", "metric", "call", "profiles", "accepted_at")
    return history | {name: earlier[name] for name in known if name in earlier}


def is_under_way(found: Document, replay: str) -> bool:
    """Return whether the job of a row is queued again under this word."""
    return (found.fields.get("state"), found.fields.get("replay")) == (DeadJobState.REPLAYED, replay)
