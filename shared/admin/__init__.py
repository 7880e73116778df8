"""What CX Manager and an operator ask of a tenant: settings, status, doctor and the last reports."""
