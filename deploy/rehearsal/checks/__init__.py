"""How each assumption is tried: one function each, which returns what it found. `assumptions/` holds the assumptions, and the code that
relies on them.
"""
