"""Seeds whose histories still end wrong, after a merchant has deleted a profile in Klaviyo."""

OPEN = frozenset({1704})
