"""Klaviyo: one typed method for each endpoint, and its OAuth tokens. Nothing about Omneo."""
