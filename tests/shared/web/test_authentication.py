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

from shared.tenants.tenants import StoredSecret
from shared.web.authentication import klaviyo_secret, shared_secret, signing_secret

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


PUBLISHED_SECRET, PUBLISHED_TIME = "klaviyo-test-secret", "Thu, 04 Jan 2024 18:05:25 GMT"
PUBLISHED = [
    (
        '{"data":[{"external_id":"4L3cwQae2TX","topic":"event:klaviyo.sent_sms"}],"meta":{"klaviyo_webhook_id":'
        '"a8b890458b4bbfaa26d961471b83c101d6de23bd826e7e5173a15310985ec3cb"}}',
        "5aa0e720d80b3a04ca04baf3c65cdfe31da57504af69fee8da29c35d45f0596b",
    ),
    ("", "20207af32de1a92c348f827f1eace8aefdcc554c6fc41e1e5625d4480a1cf059"),
    ("héllo, 🦀 world!", "976d9ec1a7b4a0edb37167e0e72bc58a9cb29933aa08f1f54679d49c1ee2ad82"),
]


class TestKlaviyoSignatures:
    """Each test begins with a delivery that is signed as others have published, and breaks one thing."""

    def signed_by(self, **changes: str) -> str:
        body, digest = PUBLISHED[0]
        given = {"signature": digest, "timestamp": PUBLISHED_TIME, "body": body, "secret": PUBLISHED_SECRET}
        given |= changes
        return klaviyo_secret(
            given["signature"], given["timestamp"], given["body"].encode(), secrets(given["secret"])
        )

    @pytest.mark.parametrize(("body", "digest"), PUBLISHED)
    def test_those_that_others_have_published_match(self, body: str, digest: str) -> None:
        assert self.signed_by(body=body, signature=digest)

    @pytest.mark.parametrize(
        "timestamp",
        [
            "",
            "Thu, 04 Jan 2024 18:05:26 GMT",
            "Thu, 04 Jan 2024 13:05:25 GMT",
            "Thu, 04 Jan 2024 18:05:25 +0000",
            "thu, 04 jan 2024 18:05:25 gmt",
            f"{PUBLISHED_TIME} ",
            f" {PUBLISHED_TIME}",
            "é\udcff",
        ],
    )
    def test_the_timestamp_counts_as_it_came(self, timestamp: str) -> None:
        assert not self.signed_by(timestamp=timestamp)

    @pytest.mark.parametrize("change", ["{} ", " {}", "{}\n", ""])
    def test_the_raw_body_counts_to_the_last_byte(self, change: str) -> None:
        assert not self.signed_by(body=change.replace("{}", PUBLISHED[0][0]))

    @pytest.mark.parametrize(
        "secret", ["", "klaviyo-test-secre", "klaviyo-test-secret ", "Klaviyo-test-secret"]
    )
    def test_the_secret_counts(self, secret: str) -> None:
        assert not self.signed_by(secret=secret)

    @pytest.mark.parametrize(
        "change",
        [
            str.upper,
            lambda right: right[:-1],
            lambda right: right + "0",
            lambda right: f" {right}",
            lambda right: f"sha256={right}",
            lambda _: "",
            lambda _: "é\ud800",
        ],
    )
    def test_nothing_but_the_lowercase_hex_itself_matches(self, change: Callable[[str], str]) -> None:
        assert not self.signed_by(signature=change(PUBLISHED[0][1]))

    def test_a_signature_of_the_body_alone_or_of_the_timestamp_first_does_not_match(self) -> None:
        body = PUBLISHED[0][0].encode()
        for signed in (body, PUBLISHED_TIME.encode() + body, body + b"." + PUBLISHED_TIME.encode()):
            wrong = signature(PUBLISHED_SECRET, signed)
            assert not self.signed_by(signature=wrong)

    def test_what_moves_between_body_and_timestamp_is_signed_the_same(self) -> None:
        # Klaviyo joins the two without a mark between them. It helps nobody: the body would be no JSON any more.
        body, digest = PUBLISHED[0]
        assert klaviyo_secret(
            digest, body[-1] + PUBLISHED_TIME, body[:-1].encode(), secrets(PUBLISHED_SECRET)
        )

    @pytest.mark.parametrize("used", ["newest", "oldest"])
    def test_any_secret_of_the_list_may_have_signed_and_is_told_by_its_id(self, used: str) -> None:
        known = dict(zip(("newest", "oldest"), secrets("newest", "oldest"), strict=True))
        digest = signature(used, BODY + PUBLISHED_TIME.encode())
        assert klaviyo_secret(digest, PUBLISHED_TIME, BODY, known.values()) == known[used].id

    def test_an_empty_secret_signs_nothing(self) -> None:
        assert not klaviyo_secret(signature("", BODY), "", BODY, secrets(""))
        assert not klaviyo_secret("", "", BODY, [])

    @given(header=st.text(), timestamp=st.text())
    def test_any_headers_are_compared_without_an_error(self, header: str, timestamp: str) -> None:
        assert not klaviyo_secret(header, timestamp, BODY, secrets("canary-key"))


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
    assert klaviyo_secret(signature(right), "", BODY, watched())
    assert len(looked_at) == 9
