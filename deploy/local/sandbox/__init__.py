"""Klaviyo and Omneo on one machine: stateful, strict where they are, over HTTP on loopback.

The one sandbox for tests and for `make run`. It imports nothing from `shared`, so that it cannot repeat a mistake of
ours: it signs, parses, limits and counts by its own code. A module that assumes something beyond the vendors' public
pages says so in its docstring, after "Assumed" and the names of the rows in deploy/guide/assumptions.md.
"""

from deploy.local.sandbox.sandbox import Sandbox

__all__ = ["Sandbox"]
