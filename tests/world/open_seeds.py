"""Seeds whose histories still end wrong.

2845: she opts out in Omneo while our write of her earlier opt-out is under way. Our write replaces her stamp by the
older one. A sign-up between the two, a second before hers, then counts as the newest decision. Omneo has no write that
checks for changes meanwhile. Only the body of Omneo's webhook still has her stamp, and a sync uses only the id in it.
If we left out the stamp of an opt-out when Omneo has one already, this would be rarer, but an opt-in with a late report
would count as newer.
"""

OPEN = frozenset({2845})
