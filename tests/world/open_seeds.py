"""Seeds whose histories still end wrong.

2845: she opts out in Omneo while our write of her earlier opt-out is under way. Our write replaces her stamp by the
older one. A sign-up between the two, a second before hers, then counts as the newest decision. Omneo has no write that
checks for changes meanwhile. Only the body of Omneo's webhook still has her stamp, and a sync uses only the id in it.
If we left out the stamp of an opt-out when Omneo has one already, this would be rarer, but an opt-in with a late report
would count as newer.

3642: she opts in in Omneo with a stamp that is 32 s in the future, and unsubscribes in Klaviyo 25 s later. Omneo
reports the opt-in 30 s after the act. By then the stamp is ahead by less than the clocks may differ, so nothing shows
that it was in the future, and the opt-in counts as the newer decision. Omneo's `updated_at` of the profile would show
it, if a change of consents alone moves that field. That is not known; if it does not, every opt-in would seem to be in
the future.
"""

OPEN = frozenset({2845, 3642})
