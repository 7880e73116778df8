"""Omneo: one typed method for each endpoint. Nothing about Klaviyo."""
