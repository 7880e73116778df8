"""The rules of a run over the whole base. Pure: what they need arrives as an argument."""
