"""Texts, numbers and ids as templates render them: what means the same is read the same, and what means nothing is nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.values import lacks_a_part, read_id, read_number, read_text

BLANKS = ["", " ", "\t", "\n", "\u00a0", "\u2003", "\u3000"]
INVISIBLE = ["\u200b", "\u200e", "\u2060", "\ufeff", "\u00ad", "\x00", "\x7f"]
around = st.lists(st.sampled_from(BLANKS + INVISIBLE), max_size=3).map("".join)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (7, 7),
        (7.0, 7.0),
        (7.25, 7.25),
        (1e3, 1000.0),
        ("7", 7),
        ("+7", 7),
        ("-7.50", -7.5),
        ("6.0", 6.0),
        ("6.", 6.0),
        (".5", 0.5),
        ("1,234.50", 1234.5),
        ("1,234,567", 1234567),
        ("\u0661\u0662", 12),
        ("\uff11\uff12\uff0e\uff15", 12.5),
        ("\u0661\u066c\u0662\u0663\u0664\u066b\u0665", 1234.5),  # with the points of Arabic
        ("5.5511151231258E-17", 5.5511151231258e-17),  # 0.1 + 0.2 - 0.3, as PHP prints it
        ("1e-320", 1e-320),
        ("1.0E+25", 1e25),
        ("1" * 40, int("1" * 40)),
        ("0." + "1" * 400, float("0." + "1" * 400)),
    ],
)
def test_a_number_is_read_however_it_is_written(value: Any, number: float) -> None:
    read = read_number(value)
    assert (read, type(read)) == (number, type(number))


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, [], {}, "", "  ", "seven", "1,5", "1.234,50", "12,34", "1,23,456", "1 234,567", "1 2", "--5", "5-", "$5",
        "0x10", "1_000", "1e3", "1 234", "nan", "inf", "1e400", "1e", "²", "½", "9" * 41, "1e+", "1e+400", "e+5", float("nan"), float("inf"), float("-inf"), 10**400,
    ],
)  # fmt: skip
def test_what_is_no_number_or_could_be_two_is_none(value: Any) -> None:
    assert read_number(value) is None


@given(st.integers(-(10**12), 10**12), st.integers(0, 3), around, around)
def test_its_form_and_what_cannot_be_seen_around_it_change_no_number(
    number: int, places: int, before: str, after: str
) -> None:
    fraction = "." + "0" * places if places else ""
    forms = [
        number,
        float(number),
        f"{before}{number}{fraction}{after}",
        f"{before}{number:,}{fraction}{after}",
    ]
    assert {read_number(form) for form in forms} == {number}


@pytest.mark.parametrize(
    ("value", "id"),
    [
        (6, "6"),
        (6.0, "6"),
        ("6", "6"),
        ("6.0", "6"),
        ("6.00", "6"),
        (" 6 ", "6"),
        (-6.0, "-6"),
        (6.5, "6.5"),
        (1e20, "100000000000000000000"),
        (0, "0"),
        ("06", "06"),
        ("1.10", "1.10"),
        ("1,234", "1,234"),
        ("order-7", "order-7"),
        ("\ufefforder-7\u200b", "order-7"),
        ("nullable", "nullable"),
        ("{0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01}", "{0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01}"),
        ("a {7} c", "a {7} c"),
        ("na", "na"),
        ("NA", "NA"),
    ],
)
def test_an_id_is_text_and_a_number_in_text_is_the_number(value: Any, id: str) -> None:
    assert read_id(value) == id


@pytest.mark.parametrize(
    "value",
    [
        None, *BLANKS, *INVISIBLE, "null", "NULL", "None", "none", " undefined ", "{{ person.id }}", "{{id}}", "reward-{{ id }}",
        "{% if id %}", "reward-{{ id", "{{ person.id|default:'' }}", "{# id #}", "<%= id %>", "*|ID|*", "#{id}", "%%id%%", "{id}",
        "reward-{person.id}", "N/A", "n/a", " #N/A ", "<nil>", "(none)", "[]", "{}", "''", '""', "00000000-0000-0000-0000-000000000000",
    ],
)  # fmt: skip
def test_what_a_template_writes_for_nothing_is_no_id(value: Any) -> None:
    assert read_id(value) == ""


@pytest.mark.parametrize("value", [True, False, [], {}, ["6"], {"id": 6}, float("nan"), float("inf")])
def test_what_is_neither_text_nor_a_number_cannot_be_an_id(value: Any) -> None:
    assert read_id(value) is None


@given(st.integers(-(10**15), 10**15), around, around)
def test_a_number_is_one_id_in_each_of_its_forms(number: int, before: str, after: str) -> None:
    forms = [number, float(number), f"{before}{number}{after}", f"{before}{number}.0{after}"]
    assert {read_id(form) for form in forms} == {str(number)}


@given(st.text(st.characters(codec="utf-8")))
def test_reading_what_was_read_changes_nothing(text: str) -> None:
    assert read_text(read_text(text)) == read_text(text)
    id = read_id(text)
    assert id is not None
    assert read_id(id) == id


@pytest.mark.parametrize(
    "id",
    [
        "reward-",
        "reward_",
        "reward:",
        "reward/",
        "RewardIssued-",
        "REWARD-",
        "cumpleaños-",
        "v2-reward-",
        "order-2027-11-",
        "-2027",
        "reward--2027",
        "reward-None",
        "null-1",
        "a.undefined.b",
        "-",
        "Happy Birthday-",
        "birthday - ",
        "order #",
        "BFCM2027-",
        "10off-",
        "winback90d-",
        "birthday-20271130-",
        "birthday+",
        "reward\u2013",
        "reward-NULL",
        "reward-Undefined",
        "reward-N/A",
        "reward-n/a-2027",
        "birthday-NULL-2027",
        "reward-unknown",
        "birthday-2027-Unknown",
        "unknown",
        "reward-()",
        "reward-[]-2027",
        "reward-''",
        "reward-<no value>",
        "reward-(none)",
        "birthday\u00b72027\u00b7",
        "reward\\",
        "?",
        "--",
        "#",
    ],
)
def test_an_id_that_lost_a_part_is_known(id: str) -> None:
    assert lacks_a_part(id)


@pytest.mark.parametrize(
    "id",
    [
        "reward-7",
        "birthday-2027-01HX",
        "none-7",
        "Nonesuch",
        "6",
        "https://shop.example.org/7",
        "https://shop.example/orders/2027/11",
        "urn:order::created",
        "Happy Birthday",
        "V1StGXR8_Z5jdHi6B-",
        "-myT",
        "dGVzdA_",
        "reward-7-",
        "jane@example.org",
        "a b",
        "None",
        "",
        "unknown-7",
        "order-7-unknown",
        "order-7-n/a",
        "SKU-N/A-12",
        "01HX5Z7Q-Unknown",
        "garlic-Nan",
        "none-2027-01HX",
        "han/a-7",
        "order (2027) [7]",
    ],
)
def test_an_id_with_all_its_parts_is_not_taken_for_one(id: str) -> None:
    assert not lacks_a_part(id)
