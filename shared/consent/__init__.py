"""Consent that comes from Klaviyo, and all that is remembered of consent."""
