"""The rules of what an explanation shows. Pure: they get everything that they need as arguments."""
