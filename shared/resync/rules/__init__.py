"""The rules of a run over the whole base. Pure: they get everything that they need as arguments."""
