"""Omneo: its APIs for many tenants, its targets, reactions and webhooks. Nothing of Klaviyo is here."""
