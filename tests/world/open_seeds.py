"""Seeds whose histories still end wrong. There is none at present."""

OPEN: frozenset[int] = frozenset()
