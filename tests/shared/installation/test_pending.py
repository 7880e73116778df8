"""Installs on their way, in both stores: taken out once, by whoever knows the word, and never read by whoever has the store."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count

import pytest

from shared.errors import UndecryptableError
from shared.installation.pending import COLLECTION, LIFE, WATCHED, PendingInstall, PendingInstalls, Step
from shared.storage.documents import Documents
from shared.storage.encryption import KeyRing, new_key
from tests.support.stores import Overtaken
from tests.support.world import TENANT, Clock

COOKIE = "canary-cookie"
KEPT: dict[str, object] = {"verifier": "canary-verifier", "number": 1, "nested": {"list": ["\u2605", None]}}


@pytest.fixture
def keys() -> KeyRing:
    return KeyRing.parse(f"k1:{new_key()}")


@pytest.fixture
def words() -> Callable[[], str]:
    numbers: Iterator[int] = count()
    return lambda: f"canary-word-{next(numbers)}"


@pytest.fixture
def pending(documents: Documents, keys: KeyRing, clock: Clock, words: Callable[[], str]) -> PendingInstalls:
    return PendingInstalls(documents, keys, clock, words)


def test_what_was_kept_comes_back_once(pending: PendingInstalls) -> None:
    word = pending.issue(Step.AUTHORIZE, TENANT, cookie=COOKIE, kept=KEPT)
    found = pending.consume(Step.AUTHORIZE, word)
    assert found is not None
    assert (found.tenant, found.kept) == (TENANT, KEPT)
    assert pending.consume(Step.AUTHORIZE, word) is None


def test_each_install_has_a_word_of_its_own(pending: PendingInstalls) -> None:
    first = pending.issue(Step.AUTHORIZE, TENANT, cookie=COOKIE, kept={"number": 1})
    second = pending.issue(Step.AUTHORIZE, "other", cookie=COOKIE, kept={"number": 2})
    found = [pending.consume(Step.AUTHORIZE, word) for word in (second, first)]
    assert [(one.tenant, one.kept["number"]) for one in found if one] == [("other", 2), (TENANT, 1)]


@pytest.mark.parametrize("word", ["", "canary-word", "\u00fc", "\x00", "\udc80", "a/b", "..", "x" * 100_000])
def test_a_word_that_was_not_issued_takes_nothing_out(pending: PendingInstalls, word: str) -> None:
    issued = pending.issue(Step.AUTHORIZE, TENANT, cookie=COOKIE, kept=KEPT)
    assert pending.consume(Step.AUTHORIZE, word) is None
    assert pending.consume(Step.AUTHORIZE, issued) is not None


def test_a_word_is_good_for_its_own_step_alone(pending: PendingInstalls) -> None:
    word = pending.issue(Step.AUTHORIZE, TENANT, cookie=COOKIE, kept=KEPT)
    assert pending.consume(Step.CONFIRM, word) is None
    assert pending.consume(Step.AUTHORIZE, word) is not None


def test_it_lives_fifteen_minutes_and_not_a_second_longer(pending: PendingInstalls, clock: Clock) -> None:
    assert timedelta(minutes=15) == LIFE
    words = [pending.issue(Step.CONFIRM, TENANT, cookie=COOKIE, kept=KEPT) for _ in range(2)]
    clock.advance(LIFE.total_seconds() - 1)
    assert pending.consume(Step.CONFIRM, words[0]) is not None
    clock.advance(1)
    assert pending.consume(Step.CONFIRM, words[1]) is None


def test_a_question_counts_as_unanswered_a_minute_after_nobody_may_answer_it_any_more(
    pending: PendingInstalls, clock: Clock
) -> None:
    """Who answers at the last moment is at it still, and the grant is then theirs."""
    pending.issue(Step.CONFIRM, TENANT, cookie=COOKIE, kept=KEPT, account="GrantAc")
    pending.issue(Step.AUTHORIZE, TENANT, cookie=COOKIE, kept=KEPT)  # holds no grant
    clock.advance(LIFE.total_seconds() + 59)
    assert list(pending.unanswered()) == []
    clock.advance(1)
    assert [(one.tenant, one.kept) for _, one in pending.unanswered()] == [(TENANT, KEPT)]


def test_only_the_cookie_it_was_issued_with_is_bound_to_it(pending: PendingInstalls) -> None:
    found = pending.consume(Step.CONFIRM, pending.issue(Step.CONFIRM, TENANT, cookie=COOKIE, kept=KEPT))
    assert found is not None
    assert found.bound_to(["canary", COOKIE]) == COOKIE
    for other in ("", "canary", COOKIE + "x", COOKIE.upper(), "\u00fc", "\udc80", found.browser):
        assert found.bound_to([other]) == ""


def test_an_install_issued_without_a_cookie_is_bound_to_nobody(pending: PendingInstalls) -> None:
    found = pending.consume(Step.CONFIRM, pending.issue(Step.CONFIRM, TENANT, cookie="", kept=KEPT))
    assert found is not None
    assert found.bound_to([""]) == ""


def test_of_many_that_take_it_out_at_once_one_gets_it(pending: PendingInstalls) -> None:
    word = pending.issue(Step.AUTHORIZE, TENANT, cookie=COOKIE, kept=KEPT)
    found: list[PendingInstall | None] = []
    ready = threading.Barrier(8)

    def consume() -> None:
        ready.wait()
        found.append(pending.consume(Step.AUTHORIZE, word))

    threads = [threading.Thread(target=consume) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one is not None for one in found) == 1


def test_who_comes_second_between_the_look_and_the_taking_gets_nothing(
    documents: Documents, keys: KeyRing, clock: Clock, pending: PendingInstalls, words: Callable[[], str]
) -> None:
    word = pending.issue(Step.AUTHORIZE, TENANT, cookie=COOKIE, kept=KEPT)
    taken: list[PendingInstall | None] = []
    overtaken = Overtaken(documents, lambda: taken.append(pending.consume(Step.AUTHORIZE, word)))
    assert PendingInstalls(overtaken, keys, clock, words).consume(Step.AUTHORIZE, word) is None
    assert taken[0] is not None


def test_the_store_holds_neither_words_nor_cookies_nor_what_is_kept(
    pending: PendingInstalls, documents: Documents
) -> None:
    pending.issue(Step.AUTHORIZE, TENANT, cookie=COOKIE, kept=KEPT)
    pending.watch(COOKIE, TENANT)
    rows = documents.find(COLLECTION)
    assert len(rows) == 2
    assert "canary" not in "".join(f"{row.id} {row.fields}" for row in rows)
    assert all("expire_at" in row.fields for row in rows)  # what the store's own removal goes by


def test_what_is_kept_is_bound_to_its_tenant_and_step(pending: PendingInstalls, documents: Documents) -> None:
    """Whoever may write into the store cannot let one tenant's tokens count as another's."""
    word = pending.issue(Step.CONFIRM, TENANT, cookie=COOKIE, kept=KEPT)
    (row,) = documents.find(COLLECTION)
    documents.update(COLLECTION, row.id, {"tenant": "other"})
    with pytest.raises(UndecryptableError):
        pending.consume(Step.CONFIRM, word)


def test_it_is_read_with_an_older_key_after_a_rotation(
    pending: PendingInstalls, documents: Documents, keys: KeyRing, clock: Clock, words: Callable[[], str]
) -> None:
    word = pending.issue(Step.CONFIRM, TENANT, cookie=COOKIE, kept=KEPT)
    rotated = KeyRing({"k2": b"2" * 32, **keys.keys})
    found = PendingInstalls(documents, rotated, clock, words).consume(Step.CONFIRM, word)
    assert found is not None
    assert found.kept == KEPT


def test_a_browser_watches_the_tenant_it_installed_last_for_an_hour(
    pending: PendingInstalls, clock: Clock
) -> None:
    pending.watch(COOKIE, TENANT)
    clock.advance(60)
    pending.watch(COOKIE, "other")
    assert pending.watched(COOKIE) == "other"
    assert pending.watched("canary-another-cookie") == ""
    assert pending.watched("") == ""
    clock.advance(WATCHED.total_seconds() - 1)
    assert pending.watched(COOKIE) == "other"
    clock.advance(1)
    assert pending.watched(COOKIE) == ""
