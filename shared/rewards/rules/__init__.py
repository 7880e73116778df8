"""What a reward call asks for and when its reward expires. Pure: what the rules need arrives as an argument."""
