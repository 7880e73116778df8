"""Runs over the whole base of a tenant: import, consent, and what changed meanwhile."""
