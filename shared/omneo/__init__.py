"""Omneo: one typed method per endpoint, nothing about Klaviyo."""
