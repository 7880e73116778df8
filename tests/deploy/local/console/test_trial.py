"""A template tried while it is typed: JSON, or the place and the reason why it is none."""

import json

import pytest

from deploy.local.console.trial import CONTEXT, RENDERED, TEMPLATE, tried
from deploy.targets.catalogue import notification, platform, sample, template

PLATFORM, NOTIFICATION = platform("klaviyo"), notification("reward-issued")
SAMPLE = json.dumps(sample("reward-issued"))


def test_a_template_of_the_catalogue_becomes_json_without_a_warning() -> None:
    trial = tried(template("klaviyo", "reward-issued"), SAMPLE, PLATFORM, NOTIFICATION)
    assert trial.fault is None
    assert json.loads(trial.body) == json.loads(trial.shown)
    assert '\n  "data"' in trial.shown
    assert trial.warnings == ()


@pytest.mark.parametrize(
    ("text", "context", "where", "line", "column"),
    [
        ('{\n"a": {{ id|nonesuch }}}', SAMPLE, TEMPLATE, 2, 12),
        ('{"a": {{ id', SAMPLE, TEMPLATE, 1, 7),
        ('{\n  "a": {{ nothing }}\n}', SAMPLE, RENDERED, 3, 1),
        ("{}", '{"a":\n x}', CONTEXT, 2, 2),
        ("{}", "[]", CONTEXT, 1, 1),
        ("{}", "", CONTEXT, 1, 1),
    ],
)
def test_a_fault_has_its_place_and_its_reason(
    text: str, context: str, where: str, line: int, column: int
) -> None:
    trial = tried(text, context, PLATFORM, NOTIFICATION)
    assert trial.fault is not None
    assert (trial.fault.where, trial.fault.line, trial.fault.column) == (where, line, column)
    assert trial.fault.reason.endswith(".")
    assert not trial.fault.reason.startswith("line")
    assert (trial.body, trial.warnings) == ("", ())


def test_what_is_rendered_instead_of_json_is_shown() -> None:
    trial = tried('{"a": {{ nothing }}}', SAMPLE, PLATFORM, NOTIFICATION)
    assert trial.shown == '{"a": }'
    no_number = tried('{"a": NaN}', SAMPLE, PLATFORM, NOTIFICATION)
    assert no_number.fault is not None
    assert (no_number.fault.line, "no number" in no_number.fault.reason) == (0, True)


def test_warnings_come_with_the_json() -> None:
    trial = tried('{"data": {"attributes": {"properties": {}}}}', SAMPLE, PLATFORM, NOTIFICATION)
    assert [warned.about for warned in trial.warnings] == ["No email or id", "unique_id"]
