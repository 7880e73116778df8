"""How each assumption is tried: one function each, which returns what it found. What is assumed, and what rests on it, stands in `assumptions/`."""
