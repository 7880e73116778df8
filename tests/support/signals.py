"""Lets the processes that tests start hear every signal, however the run itself was started.

`nohup` and a shell's `&` have signals ignored, and a process passes on what it ignores to those that it starts: a script under test would
never hear that it is to end. What is caught is not passed on. So the run catches these signals, and goes on as if it ignored them.
"""

import signal

_OFTEN_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


def pytest_configure() -> None:
    """Catch what is ignored."""
    for number in _OFTEN_IGNORED:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
