"""The operator's commands on tenants: `python -m deploy.tenants`."""
