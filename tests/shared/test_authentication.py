"""Who is calling, checked against signatures that another program computed."""

import hashlib
import hmac
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from shared.authentication import shared_secret, signing_secret
from shared.tenants import StoredSecret

BODY = '{"profile":{"email":"canary-zoë@example.org"}}\n'.encode()
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def secrets(*values: str) -> list[StoredSecret]:
    return [StoredSecret(value=SecretStr(value), created_at=NOW) for value in values]


def signature(key: str, body: bytes = BODY) -> str:
    return hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


class TestOmneoSignatures:
    def test_the_published_example_of_hmac_sha_256_matches(self) -> None:
        # RFC 4231, test case 2.
        published = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        assert signing_secret(published, b"what do ya want for nothing?", secrets("Jefe"))

    def test_what_openssl_signs_matches(self) -> None:
        if (openssl := shutil.which("openssl")) is None:
            pytest.skip("openssl is not installed")
        command = [openssl, "dgst", "-sha256", "-hmac", "canary-key", "-r"]
        printed = subprocess.run(command, input=BODY, capture_output=True, check=True).stdout.decode()
        assert signing_secret(printed.split()[0], BODY, secrets("canary-key"))

    def test_an_empty_body_can_be_signed(self) -> None:
        assert signing_secret(signature("key", b""), b"", secrets("key"))

    @pytest.mark.parametrize("used", ["newest", "middle", "oldest"])
    def test_any_secret_of_the_list_may_have_signed(self, used: str) -> None:
        assert signing_secret(signature(used), BODY, secrets("newest", "middle", "oldest"))

    def test_which_secret_it_was_is_told_by_its_id(self) -> None:
        newest, oldest = secrets("newest", "oldest")
        assert signing_secret(signature("oldest"), BODY, [newest, oldest]) == oldest.id
        assert shared_secret("newest", [newest, oldest]) == newest.id

    def test_a_secret_that_is_not_in_the_list_does_not_match(self) -> None:
        assert not signing_secret(signature("ended"), BODY, secrets("newest", "oldest"))

    @pytest.mark.parametrize(
        "change",
        [
            str.upper,  # Omneo sends lowercase, as PHP's hash_hmac makes it
            lambda right: right[:-1],
            lambda right: right + "0",
            lambda right: f" {right}",
            lambda right: f"{right}\n",
            lambda right: f"sha256={right}",
            lambda right: right[::-1],
            lambda _: "",
            lambda _: "é\ud800",
        ],
    )
    def test_nothing_but_the_lowercase_hex_itself_matches(self, change: Callable[[str], str]) -> None:
        assert not signing_secret(change(signature("key")), BODY, secrets("key"))

    @pytest.mark.parametrize("body", [BODY[:-1], BODY + b" ", BODY.replace(b":", b": "), b""])
    def test_the_raw_body_counts_to_the_last_byte(self, body: bytes) -> None:
        assert not signing_secret(signature("key"), body, secrets("key"))

    def test_an_empty_secret_matches_nothing_not_even_its_own_signature(self) -> None:
        assert not signing_secret(signature(""), BODY, secrets(""))
        assert not signing_secret("", BODY, secrets(""))
        assert not signing_secret("", BODY, [])
        assert signing_secret(signature("key"), BODY, secrets("", "key"))

    @given(st.text())
    def test_any_header_is_compared_without_an_error(self, header: str) -> None:
        assert bool(signing_secret(header, BODY, secrets("key"))) == (header == signature("key"))


class TestSharedSecrets:
    def test_any_secret_of_the_list_matches_exactly(self) -> None:
        assert shared_secret("canary-old", secrets("canary-new", "canary-old"))
        for wrong in ("canary-ol", "canary-old ", "Canary-old", "canary-old\x00", "canary"):
            assert not shared_secret(wrong, secrets("canary-new", "canary-old"))

    def test_nothing_matches_nothing(self) -> None:
        assert not shared_secret("", secrets("", "canary"))
        assert not shared_secret("", [])
        assert not shared_secret("canary", secrets(""))

    @given(st.text())
    def test_any_header_is_compared_without_an_error(self, header: str) -> None:
        assert bool(shared_secret(header, secrets("canary-key"))) == (header == "canary-key")

    def test_half_a_surrogate_pair_is_compared_too(self) -> None:
        assert not shared_secret("\udcff", secrets("canary-key"))


@pytest.mark.parametrize("position", range(3))
def test_a_match_does_not_end_the_comparing(position: int) -> None:
    looked_at = []

    def watched() -> Iterator[StoredSecret]:
        for secret in secrets("first", "second", "third"):
            looked_at.append(secret)
            yield secret

    right = ("first", "second", "third")[position]
    assert shared_secret(right, watched())
    assert signing_secret(signature(right), BODY, watched())
    assert len(looked_at) == 6
