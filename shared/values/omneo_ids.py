"""Ids of Omneo profiles. They are UUIDs, and Klaviyo's ids never are. So an Omneo id in the place of a Klaviyo id is recognised."""

import re

from shared.values.rendered import read_id

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def read_omneo_id(value: object) -> str:
    """Return the id of an Omneo profile in lower case, "" for anything else.

    >>> read_omneo_id(" 0B0C6F3E-5a0e-4a7b-9d3a-2f8f2f1c9a01"), read_omneo_id("01HXYZ")
    ('0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01', '')
    """
    text = read_id(value) or ""
    return text.lower() if _UUID.fullmatch(text) else ""
