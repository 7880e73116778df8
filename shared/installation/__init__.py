"""Joining a Klaviyo account to a tenant: OAuth steps, links, pending installs, provision and uninstall."""
