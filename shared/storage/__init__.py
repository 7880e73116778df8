"""The store: one document protocol, its two implementations, leases and encryption."""
