"""What a dead letter and the log say of a failure."""

import traceback
from typing import Final

_LONGEST: Final = 500


def one_line(error: BaseException) -> str:
    """The failure in one line that any store takes: no half characters, not too long."""
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    return text.encode("utf-8", "replace").decode()[:_LONGEST]
