"""Makes every signal reach the processes that tests start, even if the run itself ignores signals. `nohup` and a
shell's `&` make a process ignore signals, and its children ignore them too: a script under test would never get the
signal to end. Children do not inherit a handler. So the run catches these signals, and still does nothing on them.
"""

import signal

_OFTEN_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


def pytest_configure() -> None:
    """Catch the ignored signals."""
    for number in _OFTEN_IGNORED:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
