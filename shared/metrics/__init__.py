"""Omneo's calls that become Klaviyo events."""
