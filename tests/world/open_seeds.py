"""Seeds whose histories still end wrong, after a merchant has deleted a profile in Klaviyo or lifted a suppression."""

OPEN = frozenset({1704, 2034})
