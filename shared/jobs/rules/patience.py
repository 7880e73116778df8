"""How long a job waits before it is tried again, and when it is given up."""

from datetime import timedelta

GIVE_UP_AFTER = timedelta(hours=24)
POISON_RETRIES = 200  # with the queue's ten-minute backoff this takes well over a day, so our own outages never look like a job that kills the worker
LONGEST_WAIT = 3600.0
_LONGEST_BACKOFF = 600.0
_SHORTEST_LOOK, _LONGEST_LOOK = 3.0, 15.0


def seconds_to_wait(attempts: int, asked: float | None, jitter: float) -> float:
    """Return the seconds before the next attempt: at least as long as the service asks (at most an hour), and longer after each attempt.

    `attempts` counts the waits before this one, `asked` is the service's own wait, and `jitter` is a random number from 0 to 1. The wait
    grows by up to a half with it, so that jobs which failed together do not come back together.

    >>> seconds_to_wait(0, None, 0.0), seconds_to_wait(3, None, 0.0), seconds_to_wait(50, None, 0.0)
    (1.0, 8.0, 600.0)
    >>> seconds_to_wait(0, 17.0, 0.0), seconds_to_wait(0, 17.0, 1.0), seconds_to_wait(6, 17.0, 0.0)
    (17.0, 25.5, 64.0)
    """
    backoff = min(_LONGEST_BACKOFF, 2.0 ** min(attempts, 20))
    return max(backoff, min(asked or 0.0, LONGEST_WAIT)) * (1.0 + jitter / 2)


def seconds_to_turn(left: float, jitter: float) -> float:
    """Return the seconds until a job tries a resting endpoint again: `left`, and up to one more with `jitter`, so that not all come at
    once.

    It does not grow with the attempts, because no call was made.

    >>> seconds_to_turn(17.0, 0.0), seconds_to_turn(17.0, 1.0), seconds_to_turn(-3.0, 0.0)
    (17.0, 18.0, 0.0)
    """
    return max(0.0, left) + jitter


def seconds_to_another_look(age: timedelta, jitter: float) -> float:
    """Return the seconds until a job looks again whether another job is done. As a rule that is soon; if the other was killed, it takes
    minutes.

    It grows with the job's age, not with its attempts: a look is no attempt.

    >>> ages = [timedelta(), timedelta(seconds=20), timedelta(minutes=4)]
    >>> [seconds_to_another_look(age, 0.0) for age in ages], seconds_to_another_look(timedelta(), 1.0)
    ([3.0, 10.0, 15.0], 4.5)
    """
    seconds = max(_SHORTEST_LOOK, age.total_seconds() / 2) * (1.0 + jitter / 2)
    return min(seconds, _LONGEST_LOOK)


def is_given_up(age: timedelta) -> bool:
    """Return whether a job of this age is given up. The age leaves out the time in which the account was disconnected.

    >>> is_given_up(timedelta(hours=23)), is_given_up(timedelta(hours=24))
    (False, True)
    """
    return age >= GIVE_UP_AFTER
