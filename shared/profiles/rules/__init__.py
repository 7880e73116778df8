"""Which values of a profile are sent, and which profiles are left out. Pure: the rules get everything that they need as arguments."""
