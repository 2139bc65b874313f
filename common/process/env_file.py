"""Reads `.env`: `NAME=value` lines, in UTF-8. A file that can't be read to its last line is refused as a whole.

A value is meant as it stands: `${…}` in it is no variable, or a password could lose a part of itself.
"""

from io import StringIO
from pathlib import Path

from dotenv.parser import parse_stream

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class BrokenEnvFile(Exception):
    """The file can't be read. The text names file, line and cure, and quotes nothing: a password may stand there."""


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a file; none where there is no file.

    Raises:
        BrokenEnvFile: It can't be read, or a line of it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            raise BrokenEnvFile(f"{path}: points to a file that is not there; make that file, or remove this") from None
        return {}
    except IsADirectoryError:
        raise BrokenEnvFile(f"{path}: is a folder; remove it, or make it a file of NAME=value lines") from None
    except OSError as error:
        raise BrokenEnvFile(f"{path}: can't be read ({error.strerror}); give this user leave to read it") from None
    text = _text(path, content)
    variables: dict[str, str] = {}
    for binding in parse_stream(StringIO(text)):
        line = binding.original.line + _blank_lines(binding.original.string)
        if binding.error or (binding.key is not None and binding.value is None):
            raise BrokenEnvFile(f"{path}: line {line} is not NAME=value; mend it, or begin it with a #")
        if binding.key in variables:
            raise BrokenEnvFile(f"{path}: line {line} gives {binding.key} again; keep one of them")
        if binding.key is not None and binding.value is not None:
            variables[binding.key] = binding.value
    return variables


def _text(path: Path, content: bytes) -> str:
    if content.startswith(_UTF_16) or (b"\0" in content and _looks_like_utf_16(content)):
        raise BrokenEnvFile(f"{path}: is UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BrokenEnvFile(f"{path}: line {_line_of(content, error.start)} is not UTF-8; save it as UTF-8") from None
    if "\0" in text:
        raise BrokenEnvFile(f"{path}: line {_line_of(content, content.index(0))} has a NUL character; remove it")
    return text


def _looks_like_utf_16(content: bytes) -> bool:
    """Whether every other byte is NUL, as in Latin text without a mark at its start."""
    return not any(content[0::2]) or not any(content[1::2])


def _line_of(content: bytes, offset: int) -> int:
    return content.count(b"\n", 0, offset) + 1


def _blank_lines(text: str) -> int:
    """How many lines pass before the text of a line begins."""
    return text[: len(text) - len(text.lstrip())].count("\n")
