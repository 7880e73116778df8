"""What event a body describes. Pure: what the rules need arrives as an argument."""
