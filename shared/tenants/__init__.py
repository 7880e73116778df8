"""The tenants: their records, settings and keys, and a cache of them."""
