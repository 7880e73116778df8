"""Seeds whose histories still end wrong. Whoever mends one takes it out."""

OPEN: frozenset[int] = frozenset()
