"""What Klaviyo takes. Pure: what the rules need arrives as an argument."""
