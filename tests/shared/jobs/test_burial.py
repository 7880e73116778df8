"""What a job died of is told by the error that ended it."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import (
    CannotSucceedError,
    DisconnectedError,
    ExtensionError,
    NotFoundError,
    RefusedError,
    TokenRejectedError,
    WaitError,
)
from shared.jobs.burial import bury, cause_of
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import SendMetric
from shared.jobs.rules.causes import Cause
from shared.storage.encryption import KeyRing
from tests.support.memory_documents import MemoryDocuments
from tests.support.world import a_tenant

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)


def forbidden(service: str, detail: str) -> RefusedError:
    return RefusedError("answered 403", service=service, status=403, detail=detail)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (RefusedError("400", service="Klaviyo", status=400), Cause.REFUSED),
        (NotFoundError("404", service="Omneo", status=404), Cause.REFUSED),
        (forbidden("Klaviyo", "Missing scope: events:write"), Cause.SCOPE),
        (forbidden("Klaviyo", ""), Cause.SCOPE),
        (forbidden("Klaviyo", "Your plan lacks it."), Cause.PLAN),
        (forbidden("Omneo", ""), Cause.OMNEO_PERMISSION),
        (TokenRejectedError("401", service="Omneo", status=401), Cause.OMNEO_TOKEN),
        (TokenRejectedError("401", service="Klaviyo", status=401), Cause.NO_ANSWER),
        (WaitError("503", service="Klaviyo", status=503), Cause.NO_ANSWER),
        (DisconnectedError("gone"), Cause.NOT_INSTALLED),
        (CannotSucceedError("It cannot."), Cause.OTHER),
        (CannotSucceedError("It cannot.", cause=Cause.IDENTIFIER), Cause.IDENTIFIER),
    ],
    ids=str,
)
def test_each_error_has_its_cause(error: ExtensionError, cause: Cause) -> None:
    assert cause_of(error) is cause


def test_a_conclusion_from_a_403_is_of_the_cause_of_the_403() -> None:
    concluded = CannotSucceedError("No token is minted.")
    concluded.__cause__ = forbidden("Omneo", "")
    assert cause_of(concluded) is Cause.OMNEO_PERMISSION
    concluded.__cause__ = RefusedError("422", service="Omneo", status=422)
    assert cause_of(concluded) is Cause.OTHER


@pytest.mark.parametrize(("with_token", "kept"), [(True, "at <token> of"), (False, "at canary")])
def test_a_token_that_klaviyo_quotes_is_not_stored_either(with_token: bool, kept: str) -> None:
    documents, keys = MemoryDocuments(), KeyRing({"a": b"a" * 32})
    job = SendMetric(tenant="acme", id="1f", accepted_at=NOW, event={}, with_token=with_token)
    quoted = "canary" + "QWxh" * 20
    because = RefusedError("400", service="Klaviyo", status=400, detail=f"at {quoted} of IDToken")
    desk = DeadJobStore(documents, keys)
    bury(
        job, a_tenant("acme", NOW), "It is refused.", because=because, desk=desk, now=NOW + timedelta(hours=1)
    )
    (dead,) = desk.page("acme")
    assert kept in dead.detail
