"""What the extension takes for true of Klaviyo and Omneo, as data, and the rehearsal that tries it with a live account.

`assumptions/` holds the rows, `checks/` how each is tried, `rehearsal.py` the order of things. The functions know nothing of this folder: it
imports them, never the other way round.
"""
