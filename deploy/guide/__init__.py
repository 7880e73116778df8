"""The guide: pages for readers, and the table of settings, which `settings.py` writes from the schema."""
