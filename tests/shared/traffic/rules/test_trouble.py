"""What an operator is told of a tenant's traffic, in the very words."""

from datetime import UTC, datetime, timedelta

from shared.traffic.rules.counts import Row, Table, Tally, What
from shared.traffic.rules.trouble import Trouble, troubles

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
SECRET = "401, x-omneo-secret is wrong"


def span(
    ago: timedelta, what: What, count: int = 1, *, reason: str = "", target: str = "metric"
) -> tuple[datetime, Table]:
    at = NOW - ago
    return at.replace(minute=0), {Row(target, what, "Seen", reason): Tally(count, at)}


def accepted(*days: float) -> list[tuple[datetime, Table]]:
    return [span(timedelta(days=ago), What.ACCEPTED) for ago in days]


def refused(count: int, hours: float = 2, reason: str = SECRET) -> tuple[datetime, Table]:
    return span(timedelta(hours=hours), What.REFUSED, count, reason=reason)


def told(*spans: tuple[datetime, Table]) -> list[str]:
    return [trouble.message for trouble in troubles(spans, NOW)]


def test_a_tenant_whose_every_call_is_refused() -> None:
    (trouble,) = troubles([*accepted(3.1, 4), refused(200, 5), refused(12)], NOW)
    assert trouble == Trouble(
        "metric",
        "No call of metric accepted for 3 days; 212 refused since yesterday: 401, x-omneo-secret is wrong.",
        is_dead=True,
        statuses=frozenset({"401"}),
    )


def test_refusals_beside_accepted_calls_are_no_death() -> None:
    (trouble,) = troubles([*accepted(0.1), refused(50)], NOW)
    assert trouble.message == "50 calls of metric refused since yesterday: 401, x-omneo-secret is wrong."
    assert not trouble.is_dead


def test_a_few_refusals_may_be_an_accident() -> None:
    (trouble,) = troubles([refused(9)], NOW)
    assert trouble.message == (
        "No call of metric was accepted in five weeks; 9 refused since yesterday: 401, x-omneo-secret is wrong."
    )
    assert not trouble.is_dead
    assert next(troubles([refused(10)], NOW)).is_dead


def test_several_reasons_are_told_the_most_frequent_first() -> None:
    assert told(*accepted(0.1), refused(2, reason="400, a"), refused(7), refused(1, reason="400, b")) == [
        "10 calls of metric refused since yesterday, 7 with 401, x-omneo-secret is wrong, and 2 with 400, a."
    ]


def test_what_was_refused_before_yesterday_is_over() -> None:
    assert told(*accepted(0.1), refused(50, hours=24.5)) == []


def test_a_day_without_calls_is_told_when_some_were_refused() -> None:
    assert told(*accepted(1.2), refused(1)) == [
        "No call of metric accepted since yesterday; 1 refused since yesterday: 401, x-omneo-secret is wrong."
    ]


def test_silence_after_three_busy_days_is_told_from_the_second_day_on() -> None:
    busy = accepted(2.1, 3, 4)
    assert told(*busy) == ["No call of metric accepted for 2 days."]
    assert told(*accepted(1.9, 3, 4)) == []


def test_a_shop_that_sends_now_and_then_is_not_silent() -> None:
    assert told(*accepted(5, 20)) == []
    assert told(*accepted(5, 6)) == []


def test_each_target_is_looked_at_alone() -> None:
    silent = [span(timedelta(days=ago), What.ACCEPTED, target="rewards") for ago in (3, 4, 5)]
    assert told(*accepted(0.1), *silent) == ["No call of rewards accepted for 3 days."]


def test_jobs_alone_are_no_trouble() -> None:
    assert told(span(timedelta(days=4), What.DEAD), span(timedelta(days=4), What.DELIVERED)) == []


def test_refused_calls_of_admin_that_an_earlier_release_counted_are_no_trouble() -> None:
    assert told(span(timedelta(hours=2), What.REFUSED, 50, reason=SECRET, target="admin")) == []
