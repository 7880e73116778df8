"""How long a job waits before it is tried again, and when it is given up."""

from datetime import timedelta

GIVE_UP_AFTER = timedelta(hours=24)
POISON_RETRIES = (
    200  # at the queue's ten-minute backoff well over a day: our own outages never look like poison
)
LONGEST_WAIT = 3600.0
_LONGEST_BACKOFF = 600.0
_SHORTEST_LOOK, _LONGEST_LOOK = 3.0, 15.0


def seconds_to_wait(attempts: int, asked: float | None, jitter: float) -> float:
    """Return the seconds before the next attempt: as long as the service asks, at most an hour, and longer after every attempt.

    `attempts` counts the waits before this one, `asked` is what the service asks for, `jitter` is a random number from 0 to 1. The wait
    grows by up to a half with it: what failed together would otherwise come back together.

    >>> seconds_to_wait(0, None, 0.0), seconds_to_wait(3, None, 0.0), seconds_to_wait(50, None, 0.0)
    (1.0, 8.0, 600.0)
    >>> seconds_to_wait(0, 17.0, 0.0), seconds_to_wait(0, 17.0, 1.0), seconds_to_wait(6, 17.0, 0.0)
    (17.0, 25.5, 64.0)
    """
    backoff = min(_LONGEST_BACKOFF, 2.0 ** min(attempts, 20))
    return max(backoff, min(asked or 0.0, LONGEST_WAIT)) * (1.0 + jitter / 2)


def seconds_to_turn(left: float, jitter: float) -> float:
    """Return the seconds until a job's turn at what rests now: `left`, and up to one more with `jitter`, so that not all wake at once.

    It does not grow with the attempts, since nobody was asked.

    >>> seconds_to_turn(17.0, 0.0), seconds_to_turn(17.0, 1.0), seconds_to_turn(-3.0, 0.0)
    (17.0, 18.0, 0.0)
    """
    return max(0.0, left) + jitter


def seconds_to_another_look(age: timedelta, jitter: float) -> float:
    """Return the seconds until a job looks again whether another of ours is done. It is soon done, as a rule; if it was killed, it is minutes.

    It grows with the job's age, not with its attempts: to look is none.

    >>> ages = [timedelta(), timedelta(seconds=20), timedelta(minutes=4)]
    >>> [seconds_to_another_look(age, 0.0) for age in ages], seconds_to_another_look(timedelta(), 1.0)
    ([3.0, 10.0, 15.0], 4.5)
    """
    seconds = max(_SHORTEST_LOOK, age.total_seconds() / 2) * (1.0 + jitter / 2)
    return min(seconds, _LONGEST_LOOK)


def is_given_up(age: timedelta) -> bool:
    """Return whether a job of this age, time disconnected left out, has waited long enough.

    >>> is_given_up(timedelta(hours=23)), is_given_up(timedelta(hours=24))
    (False, True)
    """
    return age >= GIVE_UP_AFTER
