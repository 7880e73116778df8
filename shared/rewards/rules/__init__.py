"""The reward that a call asks for, and when it expires. Pure: the rules get everything that they need as arguments."""
