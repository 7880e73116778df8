"""The rules of consent. Pure: what they need arrives as an argument."""
