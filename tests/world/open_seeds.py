"""Seeds whose histories still end wrong.

2845: she opts out in Omneo while our write of her opt-out of a moment before is on its way. The older stamp is written over hers, and a
sign-up that lies between the two, a second before hers, has the last word. Omneo has no write that minds what was written meanwhile. Her
stamp then stands in the body of Omneo's webhook alone, of which a sync takes nothing but the id. To leave the stamp of an opt-out away
where Omneo holds one already would make this rarer, and let an opt-in that is told late pass for newer.

3642: she opts in in Omneo with a stamp that lies 32 s ahead, and unsubscribes in Klaviyo 25 s later. Omneo tells 30 s after the act, when the
stamp lies ahead by less than clocks are apart, so that nothing shows that it was ahead, and by it the opt-in is the newer one. Omneo's
`updated_at` of the profile would show it, if a change of consents alone moves that, which is not known; if it does not, every opt-in would
seem to lie ahead.
"""

OPEN = frozenset({2845, 3642})
