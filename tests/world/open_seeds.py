"""Seeds whose histories still end wrong.

2845: she opts out in Omneo while our write of her opt-out of a moment before is on its way. The older stamp is written over hers, and a
sign-up that lies between the two, a second before hers, has the last word. Omneo has no write that minds what was written meanwhile. Her
stamp then stands in the body of Omneo's webhook alone, of which a sync takes nothing but the id. To leave the stamp of an opt-out away
where Omneo holds one already would make this rarer, and let an opt-in that is told late pass for newer.
"""

OPEN = frozenset({2845})
