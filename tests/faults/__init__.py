"""Real processes, really killed: the bundle as `make serve` runs it, between two sandboxes that fail in every way.

`python -m tests.faults` runs it for minutes, kills and breaks by chance, lets everything heal, and counts the services' journals against
what was promised. Chance comes from a seed, but the machine decides what meets what: a run cannot be repeated, only run again.
"""
