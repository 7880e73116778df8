"""The rows: what is assumed, of whom, and what rests on it. `table.py` puts them together."""
