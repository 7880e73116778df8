"""Tries the assumptions about Omneo's rewards, with the smallest reward on the profile that the operator names."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from deploy.rehearsal import made
from deploy.rehearsal.assumption import Answer, fails, judged, untried
from deploy.rehearsal.stage import Stage
from shared.errors import RefusedError
from shared.rewards.rules.reward import META_KEY, is_known_by

Row = Mapping[str, Any]

_SMALLEST = 0.01
_PERIODS = ("day", "week", "month", "year")
_NO_DEFINITION = "Omneo lists no reward definition. Make one, and try again"


def meta_comes_back(stage: Stage) -> Answer:
    """Make a reward, and look for its `meta` in the answer and in the list."""
    definition = _definition(stage)
    if definition is None:
        return untried(_NO_DEFINITION)
    key = stage.note(made.REWARD, stage.name("reward"), stage.profile_id)
    answer = _made(stage, _reward(stage, key, definition))
    stage.saw_names("fields of a reward", [*answer])
    stage.saw("the answer holds meta", _is_known(answer, key))
    found = stage.until(
        lambda: next((row for row in _listed(stage) if row.get("id") == answer.get("id")), None), within=60.0
    )
    if found is None:
        return fails("the reward is not in the list of its profile within a minute")
    row, waited = found
    stage.saw("seconds until it was in the list", waited.seconds)
    return judged(_is_known(row, key), "the list does not show `meta` as it was given")


def repeated_external_id(stage: Stage) -> Answer:
    """Make a reward twice with one `external_id`."""
    definition = _definition(stage)
    if definition is None:
        return untried(_NO_DEFINITION)
    key = stage.note(made.REWARD, stage.name("repeated"), stage.profile_id)
    body = _reward(stage, key, definition)
    first = _made(stage, body)
    try:
        second = _made(stage, body)
    except RefusedError as error:
        stage.saw("status", error.status or 0)
        stage.saw("the refusal names external_id", "external_id" in error.fields)
        is_so = error.status == 409 or (error.status == 422 and "external_id" in error.fields)
        return judged(is_so, "the refusal is neither 409 nor a 422 that names `external_id`")
    stage.saw("a second reward is made", first.get("id") != second.get("id"))
    return judged(first.get("id") != second.get("id"), "Omneo answers with the first reward")


def periods_are_known(stage: Stage) -> Answer:
    """Read the reward definitions, and look at their `period_type`."""
    rows = stage.omneo.definition_rows()["data"]
    if not rows:
        return untried(_NO_DEFINITION)
    kinds = {str(row.get("period_type")).lower() for row in rows if row.get("period_type")}
    stage.saw("definitions", len(rows))
    unknown = {kind for kind in kinds if not kind.startswith(("absolute", *_PERIODS))}
    stage.saw_names("period types", sorted(kinds - unknown))
    stage.saw("period types that are not known", len(unknown))
    return judged(not unknown, "a `period_type` is none of those that are known")


def _definition(stage: Stage) -> Any:
    rows = stage.omneo.definition_rows()["data"]
    return rows[0].get("id") if rows else None


def _reward(stage: Stage, key: str, definition: Any) -> Row:
    expires = stage.now() + timedelta(days=1)
    return {
        "profile_id": stage.profile_id,
        "reward_definition_id": definition,
        "value_initial": _SMALLEST,
        "value_remaining": _SMALLEST,
        "timezone": "UTC",
        "expires_at": f"{expires:%Y-%m-%d %H:%M:%S}",
        "external_id": key,
        "meta": {META_KEY: key},
    }


def _made(stage: Stage, body: Row) -> Row:
    row: Row = stage.omneo.add_reward(body)["data"]
    stage.note(made.KNOWN_REWARD, str(row["id"]))
    return row


def _listed(stage: Stage) -> list[Row]:
    rows = stage.omneo.reward_rows(stage.profile_id)["data"]
    return [row for row in rows if isinstance(row, dict)]


def _is_known(row: Row, key: str) -> bool:
    # By `meta` alone: a reward that shows its `external_id` is known by that, which is not the question.
    return is_known_by(key, external_id=None, meta=row.get("meta"))
