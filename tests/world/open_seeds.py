"""Seeds whose histories still end wrong.

2845: she opts out in Omneo while our write of her opt-out of a moment before is on its way. The older stamp is written over hers, and a
sign-up that lies between the two has the last word. Omneo has no write that minds what was written meanwhile.
"""

OPEN = frozenset({2845})
