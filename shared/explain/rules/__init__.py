"""The rules of what an explanation shows. Pure: what they need arrives as an argument."""
