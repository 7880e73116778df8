"""JSON Logic as a tenant's exclude logic needs it: what is allowed, the data it sees, and what it gives."""
