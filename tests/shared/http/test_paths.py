"""How a value becomes a part of an address, and which values cannot."""

import pytest

from shared.errors import NotFoundError
from shared.http.paths import path_segment


@pytest.mark.parametrize("text", ["", ".", "..", "\ud800"])
def test_what_would_be_another_path_is_nothings_id(text: str) -> None:
    with pytest.raises(NotFoundError, match="Omneo can have nothing") as refused:
        path_segment(text, service="Omneo")
    assert (refused.value.service, refused.value.status) == ("Omneo", 404)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("01HX", "01HX"), ("../x", "..%2Fx"), ("...", "..."), ("a?b#c", "a%3Fb%23c"), ("%2e%2e", "%252e%252e"), (" ", "%20"),
        ("\u00e9", "%C3%A9"), ("\\..", "%5C.."), ("a;b", "a%3Bb"), ("\x00", "%00"),
    ],
)  # fmt: skip
def test_every_other_value_stays_in_its_place(text: str, quoted: str) -> None:
    assert path_segment(text, service="Omneo") == quoted
