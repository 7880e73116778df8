"""Klaviyo: its API, its pages, and what it sends of its own accord. Nothing of Omneo is here."""
