"""The assumptions about Klaviyo and Omneo, as data, and the rehearsal that tries them with a live account.

`assumptions/` holds the rows, `checks/` the code that tries each, `rehearsal.py` the order of steps. This folder
imports the functions; the functions never import this folder.
"""
