"""The assumptions about Klaviyo and Omneo, as data, and the rehearsal that tries them with a live account.

`assumptions/` holds the rows, `checks/` how each is tried, `rehearsal.py` the order of things. The functions know nothing of this folder: it
imports them, never the other way round.
"""
