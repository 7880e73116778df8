"""JSON Logic as a tenant's exclude logic needs it: which expressions are allowed, the data that they see, and their result."""
