"""Install links, in both stores: what we signed is read, nothing else is, and each is used once."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import LinkSpentError, LinkUnreadableError
from shared.installation.links import COLLECTION, LIFE, InstallLinks
from shared.storage.documents import Documents
from shared.storage.encryption import KeyRing, new_key
from shared.storage.sqlite import SqliteDocuments
from tests.support.world import TENANT, Clock


@pytest.fixture
def keys() -> KeyRing:
    return KeyRing.parse(f"k1:{new_key()}")


@pytest.fixture
def ids() -> Callable[[], str]:
    numbers: Iterator[int] = count()
    return lambda: f"id-{next(numbers)}"


@pytest.fixture
def links(documents: Documents, keys: KeyRing, clock: Clock, ids: Callable[[], str]) -> InstallLinks:
    return InstallLinks(documents, keys, clock, ids)


def test_a_link_says_whose_install_it_starts_and_until_when(links: InstallLinks, clock: Clock) -> None:
    link = links.read(links.make(TENANT))
    assert (link.tenant, link.expires_at) == (TENANT, clock() + LIFE)


def test_a_link_says_which_key_it_was_made_with(links: InstallLinks) -> None:
    assert links.read(links.make(TENANT, key="canary-1")).key == "canary-1"
    earlier = links._signed.dumps([TENANT, int(links._clock().timestamp()) + 60, "id"])
    assert links.read(str(earlier)).key == ""


def test_reading_uses_nothing_up_and_using_does(links: InstallLinks) -> None:
    text = links.make(TENANT)
    assert links.read(text) == links.read(text) == links.use(text)
    for again in (links.read, links.use):
        with pytest.raises(LinkSpentError):
            again(text)


def test_the_use_of_one_link_does_not_use_up_another(links: InstallLinks) -> None:
    first, second = links.make(TENANT), links.make(TENANT)
    assert first != second
    links.use(first)
    assert links.use(second).tenant == TENANT


def test_an_expired_link_is_spent_and_leaves_no_trace(
    links: InstallLinks, clock: Clock, documents: Documents
) -> None:
    text = links.make(TENANT)
    clock.advance(LIFE.total_seconds())
    for use in (links.read, links.use):
        with pytest.raises(LinkSpentError):
            use(text)
    assert documents.find(COLLECTION) == []


def test_a_used_link_is_remembered_for_longer_than_it_lives(
    links: InstallLinks, documents: Documents
) -> None:
    link = links.use(links.make(TENANT))
    (row,) = documents.find(COLLECTION)
    assert row.id == link.id
    expiry = row.fields["expire_at"]
    assert not isinstance(expiry, str | int | float | None | list | dict)
    assert expiry > link.expires_at


def test_of_many_that_use_it_at_once_one_may(links: InstallLinks) -> None:
    text = links.make(TENANT)
    outcomes: list[str] = []
    ready = threading.Barrier(8)

    def use() -> None:
        ready.wait()
        try:
            outcomes.append(links.use(text).tenant)
        except LinkSpentError:
            outcomes.append("spent")

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [TENANT] + ["spent"] * 7


def test_every_listed_key_verifies_and_the_first_signs(
    documents: Documents, keys: KeyRing, clock: Clock, ids: Callable[[], str]
) -> None:
    def ring(**changes: bytes) -> InstallLinks:
        return InstallLinks(documents, KeyRing({**changes, **keys.keys}), clock, ids)

    old = ring().make(TENANT)
    new = ring(k2=b"2" * 32).make(TENANT)
    assert ring(k2=b"2" * 32).read(old).tenant == TENANT
    assert ring(k2=b"2" * 32, k3=b"3" * 32).read(new).tenant == TENANT
    with pytest.raises(LinkUnreadableError):
        ring().read(new)
    with pytest.raises(LinkUnreadableError):
        ring(k2=b"4" * 32).read(new)  # the same id, another key


def test_the_encryption_key_itself_signs_nothing(keys: KeyRing, links: InstallLinks) -> None:
    said, _, signature = links.make(TENANT).partition(".")
    plain = hmac.new(keys.keys["k1"], said.encode(), hashlib.sha256).digest()
    assert signature != base64.urlsafe_b64encode(plain).decode().rstrip("=")


@pytest.mark.parametrize("name", ["a/../b", "a.evil.com", "", "A", "a" * 41, "\u0430cme"])
def test_a_link_for_what_is_no_tenant_is_not_read(links: InstallLinks, name: str) -> None:
    with pytest.raises(LinkUnreadableError):
        links.read(links.make(name))


def test_another_tenant_cannot_be_written_into_a_link(links: InstallLinks) -> None:
    said, _, signature = links.make(TENANT).partition(".")
    tenant, expiry, id, key = json.loads(base64.urlsafe_b64decode(said + "=="))
    for forged in (
        ["other", expiry, id, key],
        [tenant, expiry + 1, id, key],
        [tenant, expiry, "id-9", key],
        [tenant, expiry, id],
    ):
        text = base64.urlsafe_b64encode(json.dumps(forged).encode()).decode().rstrip("=")
        with pytest.raises(LinkUnreadableError):
            links.read(f"{text}.{signature}")


def test_no_message_repeats_the_link(links: InstallLinks) -> None:
    text = links.make(TENANT)
    links.use(text)
    for tried in (text, text + "x", "canary"):
        with pytest.raises((LinkSpentError, LinkUnreadableError)) as caught:
            links.use(tried)
        assert tried not in str(caught.value)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[InstallLinks, str]]:
    """Return one store's links and the text of one, for many examples that change nothing."""
    documents = SqliteDocuments(tmp_path_factory.mktemp("links") / "documents.db")
    links = InstallLinks(documents, KeyRing({"k1": b"1" * 32}), Clock(), lambda: "id-0")
    yield links, links.make(TENANT)
    documents.close()


@pytest.mark.parametrize("added", ["\x80", ":\x80", "\ud800", "=", " ", ":", "\n"])
def test_what_base64_would_pass_over_is_no_part_of_a_link(one: tuple[InstallLinks, str], added: str) -> None:
    links, text = one
    for place in range(len(text) + 1):
        with pytest.raises(LinkUnreadableError):
            links.read(text[:place] + added + text[place:])


@given(data=st.data())
def test_whatever_is_not_a_link_is_refused_and_never_an_error(
    one: tuple[InstallLinks, str], data: st.DataObject
) -> None:
    links, text = one
    place = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 3))
    other = text[:place] + data.draw(st.text(max_size=3)) + text[place + cut :]
    tried = data.draw(st.sampled_from([other, data.draw(st.text()), other + text]))
    if tried == text:
        assert links.read(tried).tenant == TENANT
    else:
        with pytest.raises(LinkUnreadableError):
            links.read(tried)
