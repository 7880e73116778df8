"""The event that a body describes. Pure: the rules get everything that they need as arguments."""
