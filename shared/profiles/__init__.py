"""The sync of Omneo profiles to Klaviyo: finding the Klaviyo profile, the values that are sent, and deletions."""
