"""JSON Logic over an Omneo profile: what matches, what is refused when it is saved, and what an operator is shown."""

import contextlib
import json
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.json_logic.check import ARITY, MOST_LEVELS
from shared.json_logic.exclude_logic import (
    TOO_MUCH_TO_SHOW,
    ExcludeLogicError,
    TraceStep,
    check_logic,
    matches,
    trace,
)

Json = Any

PROFILE = {
    "email": "canary-jane@example.org",
    "tier_handle": "gold",
    "tier": {"handle": "gold", "name": "Gold"},
    "tags": [{"handle": "staff", "name": "Staff Member"}, "vip"],
    "aggregations": {"spend_12m": 512.5},
    "attributes": {"comms": {"email_promo": None}},
    "addresses": [{"country": "AU"}, {"country": "NZ"}],
    "note": "",
    "none": None,
}


def var(path: str) -> Json:
    return {"var": path}


@pytest.mark.parametrize(
    ("logic", "expected"),
    [
        ({}, False),
        ({"==": [var("tier.handle"), "gold"]}, True),
        ({"===": [var("tier_handle"), "silver"]}, False),
        ({">=": [var("aggregations.spend_12m"), 500]}, True),
        ({">": [var("aggregations.nothing"), 500]}, False),
        ({"in": ["vip", var("flattened_tags")]}, True),
        ({"in": ["staff", var("flattened_tags")]}, True),
        ({"in": ["Staff Member", var("flattened_tags")]}, True),
        ({"in": ["@example.org", var("email")]}, True),
        ({"in": ["@example.org", var("none")]}, False),
        ({"in": [var("none"), "gold silver"]}, False),
        ({"in": [var("tier_handle"), ["gold", "silver"]]}, True),
        ({"not_in": [var("tier_handle"), ["gold", "silver"]]}, False),
        ({"not_in": ["trade", var("flattened_tags")]}, True),
        ({"!": {"not_in": ["vip", var("flattened_tags")]}}, True),
        ({"===": [var("profile.email"), PROFILE["email"]]}, True),
        ({"===": [var("attributes.comms.email_promo"), None]}, True),
        ({"and": [{"!": var("note")}, {"!!": var("email")}]}, True),
        ({"or": [False, {"!==": [1, "1"]}]}, True),
        ({"some": [var("addresses"), {"==": [var("country"), "NZ"]}]}, True),
        ({"all": [var("addresses"), {"==": [var("country"), "NZ"]}]}, False),
        ({"none": [var("missing"), True]}, True),
        ({">": [{"reduce": [[1, 2, 3], {"+": [var("current"), var("accumulator")]}, 0]}, 5]}, True),
        ({"if": [var("none"), True, "0"]}, True),  # "0" is true in JSON Logic
        ({"var": "note"}, False),
        ({"merge": [[], []]}, False),
        ({"==": [1, 1.0]}, True),
        ({"missing": ["email", "nowhere"]}, True),
    ],
)
def test_a_profile_matches_by_json_logics_own_rules(logic: Json, expected: bool) -> None:
    assert check_logic(logic) == ""
    assert matches(logic, PROFILE) is expected


def test_the_tags_of_an_event_come_before_those_that_are_made() -> None:
    assert matches({"in": ["x", var("flattened_tags")]}, {"tags": ["y"], "flattened_tags": ["x"]})
    assert not matches({"in": ["y", var("flattened_tags")]}, {"tags": ["y"], "flattened_tags": ["x"]})


@pytest.mark.parametrize(
    ("logic", "says"),
    [
        ([], "must be a JSON object"),
        ("canary", "must be a JSON object"),
        (None, "must be a JSON object"),
        ({"sounds_like": ["canary"]}, "uses sounds_like as an operator, which is unknown"),
        ({"and": [True, {"sounds_like": ["canary"]}]}, "uses sounds_like as an operator at and[1]"),
        ({"canary@example.org": 1}, "uses something as an operator"),
        ({"log": var("email")}, "uses log"),
        ({"==": ["canary"]}, "gives == 1 argument: it takes 2"),
        ({"!": []}, "gives ! 0 arguments: it takes 1"),
        ({"<": [1, 2, 3, 4]}, "gives < 4 arguments: it takes 2 to 3"),
        ({"and": []}, "it takes 1 or more"),
        ({"not_in": ["canary"]}, "gives not_in 1 argument"),
        ({"==": [1, 1], "!": [1]}, "needs exactly one operator"),
        ({"!": {}}, "needs exactly one operator"),
        ({"!": {"var": True}}, "needs a path in var at ![0]"),
        ({"!": {"var": [["canary"]]}}, "needs a path in var"),
        ({"==": [float("nan"), 1]}, "a number that is not finite at ==[0]"),
        ({"reduce": [[1], {"merge": [var("accumulator"), var("accumulator")]}, [1]]}, "uses merge inside the step of reduce"),
        ({"reduce": [[1], {"if": [True, [var("accumulator"), var("accumulator")], 1]}, [1]]}, "builds a list inside the step"),
        ({"reduce": [[1], var(""), 1]}, "path of one value in var inside the step of reduce"),
        ({"reduce": [[1], {"or": [False, {"var": None}]}, 1]}, "path of one value in var inside the step of reduce"),
        ({"reduce": [[1], {"var": [{"var": "current"}, 1]}, 1]}, "path of one value in var inside the step of reduce"),
        ({"some": [[1], {"some": [[1], {"some": [[1], True]}]}]}, "lists inside lists"),
    ],
)  # fmt: skip
def test_what_could_never_be_evaluated_is_named_with_the_fix(logic: Json, says: str) -> None:
    fault = check_logic(logic)
    assert says in fault
    assert "canary" not in fault
    if isinstance(logic, dict):
        for evaluate in (matches, trace):
            with pytest.raises(ExcludeLogicError, match=r"^profile_exclude_logic "):
                evaluate(logic, PROFILE)


def nested(levels: int, operator: str = "!", *more: Json) -> Json:
    logic: Json = var("note")
    for _ in range(levels - 1):
        logic = {operator: [logic, *more]}
    return logic


@pytest.mark.parametrize(("operator", "more"), [("!", ()), ("not_in", (["a"],)), ("in", ("gold",))])
def test_logic_as_deep_as_is_taken_can_be_evaluated_and_deeper_is_refused(
    operator: str, more: tuple[Json, ...]
) -> None:
    deepest = nested(MOST_LEVELS - bool(more), operator, *more)
    assert check_logic(deepest) == ""
    assert matches(deepest, PROFILE) in (True, False)
    assert "nested more than" in check_logic(nested(MOST_LEVELS + 2, operator, *more))
    assert "nested more than" in check_logic(nested(500))


@pytest.mark.parametrize(
    "odd", [float("nan"), float("inf"), 10**400, "\ud800", {"deep": None}, object()],
    ids=["nan", "infinite", "huge", "surrogate", "deep", "no-json"],
)  # fmt: skip
def test_no_value_in_a_profile_stops_the_evaluation(odd: Json) -> None:
    if isinstance(odd, dict):
        for _ in range(500):
            odd = {"deep": [odd]}
    profile = {**PROFILE, "odd": odd}
    assert matches({"==": [var("tier.handle"), "gold"]}, profile)
    assert not matches({"==": [var("odd"), 1]}, profile)


@pytest.mark.parametrize("logic", [{"in": ["canary", var("tier")]}, {"+": [var("email")]}, {"/": [1, 0]}])
def test_logic_that_fails_on_a_profile_says_so_without_its_values(logic: Json) -> None:
    with pytest.raises(ExcludeLogicError) as caught:
        matches(logic, PROFILE)
    assert "canary" not in str(caught.value)
    assert "cannot be evaluated on this profile" in str(caught.value)


def test_lists_in_lists_end_in_good_time() -> None:
    logic = {"some": [var("rows"), {"none": [var("missing"), {"all": [[1], True]}]}]}
    assert check_logic(logic)
    logic = {"some": [var("rows"), {"all": [var("rows"), {"==": [var(""), 1]}]}]}
    start = time.process_time()
    assert not matches(logic, {"rows": [{"rows": [2] * 20}] * 20})
    with pytest.raises(ExcludeLogicError, match="more list items"):
        matches(logic, {"rows": [1] * 20_000})
    assert time.process_time() - start < 5


def test_a_rule_whose_own_lists_are_too_long_for_every_profile_is_refused_when_it_is_saved() -> None:
    def rule(length: int) -> Json:
        return {"some": [[1] * length, {"some": [[1] * length, {"==": [1, 2]}]}]}

    assert "shorten the lists" in check_logic(rule(450))
    assert check_logic(rule(440)) == ""
    assert not matches(rule(440), {"tags": [{"name": "vip"}] * 40})


def whole(times: int) -> list[Json]:
    return [var("")] * times


GREEDY: list[Json] = [
    {"!": {"map": [{"merge": whole(400)}, {"cat": whole(400)}]}},
    {"cat": whole(900)},
    {"!": {"merge": [{"merge": whole(300)}, {"merge": whole(300)}]}},
    {"some": [var("rows"), {"cat": whole(900)}]},
    {"!": {"map": [var("rows"), "x" * 15_000]}},
    {"in": ["x", {"cat": [{"cat": whole(100)}, {"cat": whole(100)}]}]},
    {"==": [whole(500), 1]},
    {"map": [{"map": [{"merge": whole(30)}, {"cat": whole(30)}]}, {"cat": whole(30)}]},
    {"missing": whole(500)},
    {"and": [True, {"if": [True, {"cat": whole(500)}]}]},
]


@pytest.mark.parametrize("logic", GREEDY, ids=range(len(GREEDY)))
def test_a_rule_that_builds_much_out_of_little_is_refused_when_it_is_saved(logic: Json) -> None:
    assert len(json.dumps(logic)) < 20_000
    assert "would build too large" in check_logic(logic)
    with pytest.raises(ExcludeLogicError, match="would build too large"):
        matches(logic, PROFILE)


PLAIN: list[Json] = [
    {"or": [{"==": [var(f"field_{number}"), "x"]} for number in range(300)]},
    {"in": [var("email"), [f"jane{number}@example.org" for number in range(600)]]},
    {"==": [{"cat": [var("tier.handle"), "-", var("tier.name"), "-", var("email")]}, "gold-Gold-x"]},
    {"some": [{"merge": [var("tags"), var("statuses"), var("addresses")]}, {"in": ["NZ", var("country")]}]},
    {"in": ["NZ", {"map": [var("addresses"), var("country")]}]},
    {">": [{"reduce": [var("orders"), {"+": [var("current.total"), var("accumulator")]}, 0]}, 500]},
    {"all": [{"filter": [var("addresses"), {"!!": var("country")}]}, {"!==": [var("country"), "AU"]}]},
]


@pytest.mark.parametrize("logic", PLAIN, ids=range(len(PLAIN)))
def test_a_rule_of_everyday_is_taken_however_long_its_list(logic: Json) -> None:
    assert check_logic(logic) == ""
    assert matches(logic, {**PROFILE, "note": "x" * 90_000}) in (True, False)


def test_what_is_built_of_a_profile_out_of_all_measure_is_bounded_too() -> None:
    logic = {"cat": whole(50)}
    assert check_logic(logic) == ""
    assert matches(logic, PROFILE)
    with pytest.raises(ExcludeLogicError, match="builds a larger value from this profile"):
        matches(logic, {"note": "x" * 1_000_000})
    assert matches({"==": [var("note"), "x"]}, {"note": "x" * 10_000_000}) is False


def test_a_trace_shows_no_more_than_memory_bears() -> None:
    logic = {"and": [{"!!": {"cat": whole(5)}} for _ in range(100)]}
    steps = trace(logic, {"note": "x" * 200_000})
    assert sum(len(json.dumps(step.value)) for step in steps) < 7_000_000
    assert steps[-1].error == TOO_MUCH_TO_SHOW


def test_a_trace_shows_every_operation_with_what_it_gave() -> None:
    logic = {
        "and": [
            {"not_in": [var("tier_handle"), ["gold"]]},
            {"some": [var("addresses"), {"==": [var("country"), "NZ"]}]},
        ]
    }
    assert trace(logic, PROFILE) == [
        TraceStep("and", logic, False),
        TraceStep("and[0].not_in", logic["and"][0], False),
        TraceStep("and[0].not_in[0].var", var("tier_handle"), "gold"),
        TraceStep("and[1].some", logic["and"][1], True),
        TraceStep("and[1].some[0].var", var("addresses"), PROFILE["addresses"]),
    ]
    assert trace({}, PROFILE) == []


def test_a_trace_goes_on_past_what_fails() -> None:
    steps = trace({"or": [{"in": ["x", var("tier")]}, True]}, PROFILE)
    assert [step.path for step in steps] == ["or", "or[0].in", "or[0].in[1].var"]
    assert "in does not take" in steps[1].error
    assert steps[2].value == PROFILE["tier"]


def test_the_library_is_loaded_only_when_there_is_logic() -> None:
    code = (
        "import sys; from shared.profiles.rules.exclusions import exclusion; import shared.tenants.settings;"
        "from shared.profiles.rules.mapping import klaviyo_profile; from shared.json_logic.exclude_logic import check_logic;"
        "check_logic({'!': 1}); assert exclusion({'email': 'a@b.co'}, None) is None;"
        "klaviyo_profile({'id': 'x', 'email': 'a@b.co'}, mappings={}, region='');"
        "print([n for n in ('jsonlogic_rs', 'phonenumbers', 'iso3166') if n in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "gold", "email"])
)
LOGIC = st.recursive(
    LEAVES
    | st.builds(
        var, st.sampled_from(["", "email", "tags", "tier.handle", "aggregations", "addresses.0.country", "x"])
    ),
    lambda inner: st.builds(
        lambda operator, terms: {operator: terms}, st.sampled_from(sorted(ARITY)), st.lists(inner, max_size=3)
    ),
    max_leaves=12,
).filter(lambda value: isinstance(value, dict))


@settings(max_examples=600, deadline=None)
@given(LOGIC)
def test_what_is_taken_either_decides_or_says_plainly_that_it_cannot(logic: Json) -> None:
    if check_logic(logic):
        return
    with contextlib.suppress(ExcludeLogicError):
        assert matches(logic, PROFILE) in (True, False)
    assert trace(logic, PROFILE)[0].expression == logic
    json.dumps([step.value for step in trace(logic, PROFILE)])
