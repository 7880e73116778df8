"""Real processes that are really killed: the bundle as `make serve` runs it, between two sandboxes that fail in every
way.

`python -m tests.faults` runs it for minutes, kills and breaks by chance, lets everything heal, and compares the
services' journals with the promises to callers. Chance comes from a seed, but the machine decides the order of events:
no run is the same twice.
"""
