"""One error for many callers: raised in several threads, one object would gather the tracebacks of all of them."""

from typing import Any


def copy_of(error: Exception) -> Exception:
    """Another error of the same class, message, attributes, cause and origin.

    Its constructor is not called, since that may want other arguments than the message.

    Returns:
        The copy; a RuntimeError that names the original where that can't be copied.
    """
    try:
        return _copied(error)
    except Exception:  # noqa: BLE001 - whatever a class does: its callers must be told of something
        return RuntimeError(f"{type(error).__name__}: {error}")


def _copied(error: Exception) -> Exception:
    built_in: Any = next(base for base in type(error).__mro__ if base.__module__ == "builtins")
    args = built_in.__reduce__(error)[1]
    copy = type(error).__new__(type(error), *args)
    built_in.__init__(copy, *args)  # what Python keeps outside __dict__, such as an OSError's errno
    for name, value in error.__dict__.items():
        copy.__dict__[name] = value.copy() if isinstance(value, dict | list) else value
    copy.__cause__, copy.__context__ = error.__cause__, error.__context__
    copy.__suppress_context__ = error.__suppress_context__  # a cause has set it
    return copy.with_traceback(error.__traceback__)
