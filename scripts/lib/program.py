"""What programs that start the services have in common: how they end, and what they say then."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Final, NoReturn

import grpc
from rich.console import Console

from common.process.settings import WrongSettings
from common.rpc.errors import to_domain_error
from scripts.lib.goods_file import WrongGoodsFile
from scripts.lib.services import ServiceFailed
from scripts.lib.signals import run_until_signal
from scripts.lib.terminal import printable

FAILED: Final = 1
WRONGLY_CALLED: Final = 2


def run_program(
    console: Console,
    work: Callable[[], int],
    *,
    end: Callable[[], None],
    farewell: Callable[[int, signal.Signals | None], None],
) -> NoReturn:
    """Do the work of a program until it is done, fails or a signal comes, and exit; a failure is one line.

    Args:
        console: Where that line goes.
        work: Returns the exit code.
        end: Ends what the work has started; called when a signal comes. Again is harmless.
        farewell: Called with the exit code, and the signal if one ended it.
    """
    by: signal.Signals | None = None
    try:
        code, by = run_until_signal(work, end=end)
    except BrokenPipeError:  # whoever read what is printed has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    except (WrongGoodsFile, WrongSettings) as error:
        code = _failed(console, str(error), WRONGLY_CALLED)
    except ServiceFailed as error:
        code = _failed(console, str(error), error.code)
    except grpc.RpcError as error:
        failure = to_domain_error(error)
        code = _failed(console, f"a call failed: {failure.reason}: {failure}", FAILED)
    except OSError as error:
        code = _failed(console, f"{error.filename or 'the system'}: {error.strerror or error}", WRONGLY_CALLED)
    with contextlib.suppress(OSError):  # the terminal is gone
        farewell(code, by)
    sys.exit(code)


def _failed(console: Console, text: str, code: int) -> int:
    console.print(printable(text), style="red")
    return code
