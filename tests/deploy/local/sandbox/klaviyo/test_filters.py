"""Klaviyo's filter expressions as the sandbox reads them, whatever stands between the quotes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.sandbox.klaviyo.documents import InvalidParameterError
from deploy.local.sandbox.klaviyo.filters import Clause, Field, matching, parse

FIELDS = {"external_id": Field(lambda row: row, ("any", "equals"))}


def quoted(text: str, mark: str) -> str:
    return mark + text.replace("\\", "\\\\").replace(mark, f"\\{mark}") + mark


@given(texts=st.lists(st.text(), min_size=1), mark=st.sampled_from(["'", '"']))
def test_any_text_is_found_by_itself_alone(texts: list[str], mark: str) -> None:
    wanted = ",".join(quoted(text, mark) for text in texts)
    clauses = parse(f"any(external_id,[{wanted}])", FIELDS, "profile")
    assert clauses == [Clause("any", "external_id", tuple(texts))]
    assert matching([*texts, None], clauses, FIELDS) == texts
    assert matching([f"{text}?" for text in texts if f"{text}?" not in texts], clauses, FIELDS) == []


@given(text=st.text(max_size=12), mark=st.sampled_from(["'", '"']))
def test_a_text_cannot_add_a_clause_of_its_own(text: str, mark: str) -> None:
    written = f"equals(external_id,{quoted(text, mark)})"
    assert len(parse(f"{written},{written}", FIELDS, "profile")) == 2


def test_a_quote_inside_has_to_be_escaped() -> None:
    with pytest.raises(InvalidParameterError):
        parse('equals(external_id,"a"b")', FIELDS, "profile")
