"""A local emulator of Google Cloud Tasks (v2, HTTP targets) for the unchanged google-cloud-tasks client.

It keeps tasks in one SQLite file, loses none when it is killed, refuses what the service refuses, and sends requests
to this machine only. Start it with `python -m deploy.local.tasks`, or in a test as `TasksEmulator`. Start reading in
`server.py`. It imports nothing of the extension.

It does not slow a whole queue down after 429, 503 or many errors, and it does not ramp a new queue up: Google does not
document by how much the service does so. It has no App Engine targets, no OAuth tokens, no queue-level HTTP targets, no
filters, no batches.
"""

from deploy.local.tasks.emulator import TasksEmulator

__all__ = ["TasksEmulator"]
