"""Klaviyo Flows that issue one Omneo reward: the claim of an id, the look for what was made, the answer."""
