"""The values that Klaviyo accepts. Pure: the rules get everything that they need as arguments."""
