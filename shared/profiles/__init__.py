"""The sync of Omneo profiles to Klaviyo: whom a profile is, what is sent, and deletions."""
