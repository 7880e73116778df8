"""Seeds whose histories still end wrong, each with its reason. There is none."""

OPEN: frozenset[int] = frozenset()
