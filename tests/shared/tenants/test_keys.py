"""Installation keys: what they hold, what is kept of them, what counts as one."""

import hashlib
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from shared.tenants.keys import hash_of, matches, new_installation_key

KEY = "oik_canary-key"


def test_a_new_key_shows_what_it_is_and_holds_160_random_bits() -> None:
    keys = {new_installation_key() for _ in range(200)}
    assert len(keys) == 200
    assert all(key.startswith("oik_") and len(key.removeprefix("oik_")) * 6 >= 160 for key in keys)


def test_a_new_key_can_stand_in_a_header_and_a_form() -> None:
    assert all(
        character.isascii() and (character.isalnum() or character in "-_")
        for character in new_installation_key()
    )


def test_what_is_stored_is_the_sha_256() -> None:
    assert hash_of(KEY) == hashlib.sha256(b"oik_canary-key").hexdigest()


def test_any_of_the_keys_of_a_tenant_matches() -> None:
    hashes = [hash_of("another"), hash_of(KEY), hash_of("third")]
    assert matches(KEY, hashes)
    assert matches("third", hashes)


def test_every_hash_is_looked_at_even_after_a_match() -> None:
    looked_at = []

    def hashes() -> Iterator[str]:
        for key in (KEY, "another", "third"):
            looked_at.append(key)
            yield hash_of(key)

    assert matches(KEY, hashes())
    assert len(looked_at) == 3


def test_neither_a_hash_nor_nothing_is_a_key() -> None:
    assert not matches(hash_of(KEY), [hash_of(KEY)])
    assert not matches("", [hash_of(KEY)])
    assert not matches(KEY + " ", [hash_of(KEY)])
    assert not matches(KEY.upper(), [hash_of(KEY)])
    assert not matches("", [])
    assert not matches("", [""])


@given(st.text())
def test_any_text_a_caller_may_send_is_compared_without_an_error(given_key: str) -> None:
    assert matches(given_key, [hash_of(KEY)]) == (given_key == KEY)


def test_half_a_surrogate_pair_is_compared_too() -> None:
    assert not matches("\ud800", [hash_of(KEY)])
