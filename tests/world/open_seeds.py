"""Seeds whose histories still end wrong."""

OPEN: frozenset[int] = frozenset()
