"""The published interface: one row for each public call, from which openapi.json is written. Nothing here answers a call."""
