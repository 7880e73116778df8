"""Secrets at rest, against whoever holds the database, or a wrong key, or changes a byte."""

import base64
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import UndecryptableError
from shared.storage.encryption import KeyRing, new_key

KEY_A, KEY_B = bytes(range(32)), bytes(range(100, 132))
A = KeyRing({"a": KEY_A})
SECRET = "canary-secret"
text = st.text(st.characters(exclude_categories=["Cs"]))


def encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


def refusal(ring: KeyRing, sealed: str, *, tenant: str = "acme", field: str = "omneo_token") -> str:
    with pytest.raises(UndecryptableError) as refused:
        ring.decrypt(sealed, tenant=tenant, field=field)
    return str(refused.value)


class TestSealing:
    @given(secret=text, tenant=text, field=text)
    def test_what_was_sealed_opens_again(self, secret: str, tenant: str, field: str) -> None:
        sealed = A.encrypt(secret, tenant=tenant, field=field)
        assert A.decrypt(sealed, tenant=tenant, field=field) == secret

    @given(secret=st.binary())
    def test_bytes_come_back_as_they_were(self, secret: bytes) -> None:
        sealed = A.encrypt_bytes(secret, tenant="acme", field="body")
        assert A.decrypt_bytes(sealed, tenant="acme", field="body") == secret

    def test_it_is_aes_256_gcm_with_tenant_and_field_as_associated_data(self) -> None:
        nonce = bytes(range(12))
        ring = KeyRing({"a": KEY_A}, random_bytes=lambda size: nonce[:size])
        expected = AESGCM(KEY_A).encrypt(nonce, SECRET.encode(), b"acme/omneo_token")
        sealed = ring.encrypt(SECRET, tenant="acme", field="omneo_token")
        assert sealed == f"a.{base64.b64encode(nonce + expected).decode()}"

    def test_what_the_cipher_itself_made_opens(self) -> None:
        nonce = b"n" * 12
        raw = nonce + AESGCM(KEY_B).encrypt(nonce, "čanary".encode(), b"acme/klaviyo.access_token")
        ring = KeyRing({"a": KEY_A, "b": KEY_B})
        assert ring.decrypt(f"b.{encoded(raw)}", tenant="acme", field="klaviyo.access_token") == "čanary"

    def test_the_same_secret_never_looks_the_same_twice(self) -> None:
        assert len({A.encrypt(SECRET, tenant="acme", field="f") for _ in range(50)}) == 50

    def test_the_ring_shows_nothing_of_what_it_holds(self) -> None:
        assert repr(KeyRing.parse(f"a:{encoded(KEY_A)}")) == "KeyRing()"

    def test_a_key_for_another_purpose_is_the_first_block_of_rfc_5869(self) -> None:
        extracted = hmac.digest(bytes(32), KEY_A, "sha256")
        assert A.derive("a", b"links") == hmac.digest(extracted, b"links\x01", "sha256")


class TestOpeningWhatIsNotOurs:
    @pytest.mark.parametrize(
        "elsewhere", [{"tenant": "acme-stg"}, {"field": "klaviyo.access_token"}, {"tenant": "", "field": ""}]
    )
    def test_a_secret_moved_to_another_tenant_or_field_does_not_open(self, elsewhere: dict[str, str]) -> None:
        sealed = A.encrypt(SECRET, tenant="acme", field="omneo_token")
        assert SECRET not in refusal(A, sealed, **elsewhere)

    def test_another_key_of_the_same_name_does_not_open_it(self) -> None:
        sealed = A.encrypt(SECRET, tenant="acme", field="omneo_token")
        assert refusal(KeyRing({"a": KEY_B}), sealed) == "omneo_token of acme does not decrypt"

    def test_a_key_that_is_no_longer_listed_is_named_as_the_reason(self) -> None:
        sealed = A.encrypt(SECRET, tenant="acme", field="omneo_token")
        message = refusal(KeyRing({"b": KEY_B}), sealed)
        assert message == "omneo_token of acme was written with a key that ENCRYPTION_KEYS no longer lists"

    @given(data=st.data())
    def test_one_changed_bit_anywhere_is_noticed(self, data: st.DataObject) -> None:
        raw = bytearray(
            base64.b64decode(A.encrypt(SECRET, tenant="acme", field="omneo_token").partition(".")[2])
        )
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        assert refusal(A, f"a.{encoded(bytes(raw))}") == "omneo_token of acme does not decrypt"

    @given(st.integers(0, 40))
    def test_a_shortened_secret_is_noticed(self, length: int) -> None:
        raw = base64.b64decode(A.encrypt(SECRET, tenant="acme", field="omneo_token").partition(".")[2])
        assert refusal(A, f"a.{encoded(raw[:length])}") == "omneo_token of acme does not decrypt"

    @pytest.mark.parametrize("rest", ["", "AAAA", "not base64!", "ünicode", "A", ".", "AAAA\n"])
    def test_what_is_no_ciphertext_is_refused(self, rest: str) -> None:
        assert refusal(A, f"a.{rest}") == "omneo_token of acme does not decrypt"

    @given(text)
    def test_any_text_opens_or_is_refused_and_is_never_repeated(self, sealed: str) -> None:
        message = refusal(KeyRing({"a": KEY_A, "": KEY_B}), sealed, tenant="T", field="F")
        assert message.startswith("F of T ")

    def test_bytes_that_are_no_text_are_refused_without_being_carried_along(self) -> None:
        sealed = A.encrypt_bytes(b"canary \xff", tenant="acme", field="omneo_token")
        with pytest.raises(UndecryptableError) as refused:
            A.decrypt(sealed, tenant="acme", field="omneo_token")
        assert refused.value.__cause__ is None
        assert refused.value.__suppress_context__


class TestSeveralKeys:
    both = KeyRing.parse(f"b:{encoded(KEY_B)}, a:{encoded(KEY_A)}")

    def test_the_first_writes(self) -> None:
        sealed = self.both.encrypt(SECRET, tenant="acme", field="f")
        assert (self.both.writing_key, sealed.partition(".")[0]) == ("b", "b")
        assert KeyRing({"b": KEY_B}).decrypt(sealed, tenant="acme", field="f") == SECRET

    def test_every_one_reads(self) -> None:
        for ring in (A, KeyRing({"b": KEY_B}), self.both):
            sealed = ring.encrypt(SECRET, tenant="acme", field="f")
            assert self.both.decrypt(sealed, tenant="acme", field="f") == SECRET

    def test_what_an_older_key_sealed_is_not_current(self) -> None:
        old, new = (ring.encrypt(SECRET, tenant="acme", field="f") for ring in (A, self.both))
        assert (self.both.is_current(old), self.both.is_current(new)) == (False, True)

    def test_a_key_id_that_begins_like_another_is_another(self) -> None:
        ring = KeyRing({"k1": KEY_A, "k11": KEY_B})
        assert not ring.is_current("k11.AAAA")


class TestReadingTheVariable:
    def test_a_new_key_can_be_read(self) -> None:
        keys = [new_key() for _ in range(3)]
        ring = KeyRing.parse(",".join(f"k-{number}_X:{key}" for number, key in enumerate(keys)))
        assert [encoded(key) for key in ring.keys.values()] == keys
        assert len(set(keys)) == 3

    @pytest.mark.parametrize(
        ("variable", "complaint"),
        [
            ("", "pair 1 is not of the form id:key"),
            ("canary", "pair 1 is not of the form id:key"),
            (f":{encoded(KEY_A)}", "pair 1 is not of the form id:key"),
            (f"canary!:{encoded(KEY_A)}", "pair 1 is not of the form id:key"),
            (f"{'canary' * 6}:{encoded(KEY_A)}", "pair 1 is not of the form id:key"),
            (f"a.b:{encoded(KEY_A)}", "pair 1 is not of the form id:key"),
            (f"a:{encoded(KEY_A)},", "pair 2 is not of the form id:key"),
            (f"a:{encoded(KEY_A)};b:{encoded(KEY_B)}", "the key of pair 1 is not base64"),
            (f"a:{encoded(KEY_A)},b:canary$canary", "the key of pair 2 is not base64"),
            ("a:cänäry", "the key of pair 1 is not base64"),
            (f"a: {encoded(KEY_A)}", "the key of pair 1 is not base64"),
            (f"a:{encoded(KEY_A)[:-1]}", "the key of pair 1 is not base64"),
            ("a:", "the key of pair 1 is 0 bytes long; 32 are needed"),
            ("a:canary++", "the key of pair 1 is 6 bytes long; 32 are needed"),
            (f"a:{encoded(KEY_A + b'x')}", "the key of pair 1 is 33 bytes long; 32 are needed"),
            (f"a:{encoded(KEY_A)},a:{encoded(KEY_B)}", "pair 2 repeats the id of an earlier pair"),
        ],
    )
    def test_a_malformed_one_is_explained_without_its_keys(self, variable: str, complaint: str) -> None:
        with pytest.raises(ValueError, match="pair") as refused:
            KeyRing.parse(variable)
        assert str(refused.value).startswith(complaint)
        assert "canary" not in str(refused.value)
        assert encoded(KEY_A)[:8] not in str(refused.value)
        assert refused.value.__cause__ is None

    @given(st.text())
    def test_any_text_is_a_ring_or_a_value_error_that_does_not_repeat_it(self, variable: str) -> None:
        try:
            KeyRing.parse("canary" + variable)
        except ValueError as error:
            assert "canary" not in str(error)  # noqa: PT017 - a ring is as good an outcome
