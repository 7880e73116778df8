"""Fixed windows under a clock that stands still until it is moved."""

from hypothesis import given
from hypothesis import strategies as st

from deploy.local.sandbox.stage.windows import Window, Windows

SHEET = (Window(1, 3), Window(60, 5))


class Hand:
    """A clock's hand, moved by the test."""

    def __init__(self, at: float = 0.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def test_a_full_second_asks_to_wait_for_the_next_one() -> None:
    hand = Hand(120.25)
    windows = Windows(hand)
    assert [windows.take("a", SHEET).retry_after for _ in range(4)] == [None, None, None, 1]
    hand.at = 121.0
    assert windows.take("a", SHEET).retry_after is None


def test_a_full_minute_asks_to_wait_for_its_end_whatever_the_second_says() -> None:
    hand = Hand(120.0)
    windows = Windows(hand)
    for second in range(5):
        hand.at = 120.0 + second
        assert windows.take("a", SHEET).retry_after is None
    hand.at = 130.5
    assert windows.take("a", SHEET).retry_after == 50
    hand.at = 179.9
    assert windows.take("a", SHEET).retry_after == 1
    hand.at = 180.0
    assert windows.take("a", SHEET).retry_after is None


def test_what_is_left_is_told_of_the_burst_window() -> None:
    windows = Windows(Hand(125.5))
    verdicts = [windows.take("a", SHEET) for _ in range(2)]
    assert [(verdict.remaining, verdict.reset) for verdict in verdicts] == [(2, 0), (1, 0)]


def test_keys_are_counted_apart() -> None:
    windows = Windows(Hand())
    one = [Window(60, 1)]
    assert [windows.take(key, one).retry_after for key in ("a", "b", "a")] == [None, None, 60]


@given(st.lists(st.integers(0, 8000), max_size=60).map(sorted))
def test_a_call_passes_exactly_when_every_window_has_room(milliseconds: list[int]) -> None:
    hand = Hand()
    windows = Windows(hand)
    sheet = (Window(1, 2), Window(4, 5))
    passed: list[float] = []
    for moment in milliseconds:
        hand.at = moment / 1000
        room = all(
            sum(1 for earlier in passed if earlier // window.seconds == hand.at // window.seconds)
            < window.calls
            for window in sheet
        )
        verdict = windows.take("a", sheet)
        assert (verdict.retry_after is None) is room
        if room:
            passed.append(hand.at)
