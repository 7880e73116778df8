"""The rules of consent. Pure: they get everything that they need as arguments."""
