"""Signed messages to a tenant's own address: the account is disconnected or back, jobs have died, a run has ended."""
