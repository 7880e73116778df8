"""Klaviyo: one typed method per endpoint, its OAuth tokens, nothing about Omneo."""
