"""The hash of a request's content, which distinguishes a repeat from another request with the same key.

A stored hash begins with the number of its form, `1:3f2a…`. A field that joins the hashed content makes form 2; then a
repeat has to be hashed in the form of the row that it is compared with. Without the number, that field would make every
retry across an upgrade a request with different content.
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
