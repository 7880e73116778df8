"""Jobs that run once for all requests within ten seconds. This module does not know what the job does."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.jobs.jobs import AnyJob
from shared.jobs.rules.windows import Window
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.jobs.queue import TaskQueue


def once_a_window(
    job_at: Callable[[datetime], AnyJob],
    tenant: Tenant,
    *about: str,
    queue: "TaskQueue",
    clock: Callable[[], datetime],
    after: float = 0.0,
) -> bool:
    """Queue the job of the window `after` seconds from now, under that window's own name; return whether it is the window's first.

    A job that starts later surely reads everything that the caller has written before this call: if the window may be over, its job may be
    done already, and then the job of the next window is queued. `about` distinguishes the jobs of a window.

    Raises:
        QueueUnavailableError: nothing was queued.
    """
    window = Window.at(clock() + timedelta(seconds=after))
    while True:
        now = clock()
        delay = max(0.0, (window.due - now).total_seconds())
        is_new = queue.put_named(job_at(now), tenant, name=window.task_name(*about), delay=delay)
        if is_new or not window.may_be_over(clock()):
            return is_new
        window = window.next
