"""The checks of the assumptions: one function for each, which returns its result. `assumptions/` holds the assumptions,
and the code that relies on them.
"""
