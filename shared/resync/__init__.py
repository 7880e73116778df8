"""Runs over the whole base of a tenant: import, consent, and later changes."""
