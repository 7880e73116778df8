"""Seeds whose histories still end wrong, each with what happens in it and why nobody mends it yet. There is none now."""

OPEN: frozenset[int] = frozenset()
