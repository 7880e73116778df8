"""Seeds whose histories still end wrong."""

OPEN = frozenset({1704, 2034})
