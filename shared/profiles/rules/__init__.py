"""What of a profile is sent and who is left out. Pure: what the rules need arrives as an argument."""
