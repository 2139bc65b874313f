"""The hash of a request's content, which distinguishes a repeat from another request with the same key.

A stored hash begins with the number of its form, `1:3f2a…`. When a field joins the hashed content, the form gets the
next number, and a repeat is hashed in the form of the row that it is compared with. Without the number, a field that is
added would make every retry across an upgrade a request with different content.
"""

import hashlib
import json
from typing import Final

LONGEST: Final = 72
"""How many characters a hash has at most."""


def content_hash(form: int, *content: object) -> str:
    """Hash content.

    Args:
        form: Which fields the content has, and in which order; from 1.
        content: Whatever JSON can hold.
    """
    text = json.dumps(content, separators=(",", ":"))
    return f"{form}:{hashlib.sha256(text.encode()).hexdigest()}"
