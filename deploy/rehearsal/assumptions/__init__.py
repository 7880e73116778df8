"""The rows: each assumption, its service, and the code that rests on it. `table.py` puts them together."""
