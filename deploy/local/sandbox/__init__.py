"""Klaviyo and Omneo on one machine: stateful, strict where they are, over HTTP on loopback.

The one sandbox for tests and for `make run`. It imports nothing from `shared`, so that it never agrees with a mistake
of ours: it signs, parses, limits and counts by its own code. What it assumes beyond the vendors' public pages stands in
the docstring of the module that assumes it, after "Assumed" and the names under which deploy/guide/assumptions.md has it.
"""

from deploy.local.sandbox.sandbox import Sandbox

__all__ = ["Sandbox"]
