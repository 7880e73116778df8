"""Klaviyo: its API, its pages, and the messages that it sends without a call. Nothing of Omneo is here."""
