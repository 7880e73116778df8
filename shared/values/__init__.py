"""What a value means that a template has rendered or a person has typed: one reader for each kind, the same on every path. Pure.

A reader says what a value means, or that it means nothing. Whether a field is needed, how long it may be and what a caller is told belong
to who asks. Text, numbers and ids stand in rendered.py and are used from here; each other kind has its file.
"""

from shared.values.rendered import is_unrendered, lacks_a_part, read_id, read_number, read_plain, read_text

__all__ = ["is_unrendered", "lacks_a_part", "read_id", "read_number", "read_plain", "read_text"]
