"""Where everything is stored: one document protocol, its two implementations, leases and encryption."""
