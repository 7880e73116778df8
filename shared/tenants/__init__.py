"""Who the tenants are: their records, settings and keys, and a cache of them."""
