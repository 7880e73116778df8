"""The calls of CX Manager and operators about a tenant: settings, status, doctor and the last reports."""
