"""Seeds whose histories still end wrong.

3642: she opts in in Omneo with a stamp that is 32 s in the future, and unsubscribes in Klaviyo 25 s later. Omneo
reports the opt-in 30 s after the act. By then the stamp is ahead by less than the clocks may differ, so nothing shows
that it was in the future, and the opt-in counts as the newer decision. Omneo's `updated_at` of the profile would show
it, if a change of consents alone moves that field. That is not known; if it does not, every opt-in would seem to be in
the future.
"""

OPEN = frozenset({3642})
