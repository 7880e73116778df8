"""Ids and tokens in the shapes that Klaviyo and Omneo use. The same seed gives the same ones again."""

import random
import string
import uuid

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LETTERS = string.ascii_letters + string.digits


class Identifiers:
    """Makes ids; `token_prefix` stands in front of every token, so that a leaked one can be found by searching."""

    def __init__(self, *, seed: int | None = None, token_prefix: str = "sandbox") -> None:  # noqa: S107 (a prefix, no password)
        self._random = random.Random(seed)
        self._token_prefix = token_prefix

    def ulid(self) -> str:
        """Return an id like those of Klaviyo's profiles, webhooks and data sources: 26 characters, a ULID by its
        looks, random throughout.
        """
        return "01" + "".join(_CROCKFORD[self._random.getrandbits(5)] for _ in range(24))

    def event_id(self) -> str:
        """Return an id like those of Klaviyo's own events: 11 letters and digits."""
        return self._letters(11)

    def short_id(self) -> str:
        """Return an id like those of Klaviyo's lists and metrics: 6 letters and digits."""
        return self._letters(6)

    def uuid(self) -> str:
        """Return a version 4 UUID."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def token(self, kind: str) -> str:
        """Return a token such as `sandbox-access-3f...`."""
        return f"{self._token_prefix}-{kind}-{self._random.getrandbits(128):032x}"

    def _letters(self, count: int) -> str:
        return "".join(self._random.choices(_LETTERS, k=count))
