"""Consent that comes from Klaviyo, and the memory of all consents."""
