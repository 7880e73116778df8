"""The rules for the content of an explanation. Pure: they get everything that they need as arguments."""
