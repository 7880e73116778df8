"""The meaning of a value from a template or a person: one reader for each kind, the same on every path. Pure.

A reader returns the meaning of a value, or that it has none. The caller of a reader decides whether a field is needed, how long it may be
and which message to give. rendered.py reads text, numbers and ids; each other kind has its own file.
"""

from shared.values.rendered import is_unrendered, lacks_a_part, read_id, read_number, read_plain, read_text

__all__ = ["is_unrendered", "lacks_a_part", "read_id", "read_number", "read_plain", "read_text"]
