# SPDX-License-Identifier: Apache-2.0
"""Ends of a process: exit codes, one line on stderr about a failure, Ctrl-C and SIGTERM."""

import contextlib
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from lungcad.errors import InputError, find_input_error
from lungcad.printable import printable

T = TypeVar("T")

DISK_FULL = errno.ENOSPC, errno.EDQUOT
"""Numbers of the system errors of a full disk or an exhausted quota."""
EXIT_BUG, EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_NO_READER, EXIT_TERMINATED = 1, 2, 130, 141, 143


class Terminated(BaseException):
    """SIGTERM as an exception, so that what was begun is taken back as for Ctrl-C."""


def guarded(function: Callable[..., T], *args: Any, debug: bool | str = False) -> T:
    """Call ``function(*args)``; let a failure end the process with one line on stderr.

    Bad input (an :class:`InputError`, also one that a library has wrapped in its own exception) exits with 2, any
    other exception, a bug, with 1; Ctrl-C with 130, SIGTERM with 143, and output that nobody reads any more
    (``lungcad inspect | head``) with 141. With ``debug`` (True, or ``"true"`` as from a command line) the traceback
    comes first.
    """
    open_missing_streams()
    print_any_text()
    terminate_like_interrupt()
    try:
        result = function(*args)
        sys.stdout.flush()
        return result
    except BrokenPipeError:
        _drop_stdout()
        raise SystemExit(EXIT_NO_READER) from None
    except (KeyboardInterrupt, Terminated) as end:
        raise SystemExit(_report_end(end)) from None
    except Exception as error:
        # an error that names no file is one of stdout
        if isinstance(error, OSError) and error.errno in DISK_FULL and error.filename is None:
            _drop_stdout()
            text = f"The output cannot be written: {error.strerror}."
            raise SystemExit(report_error(InputError("E-OUTPUT", text, "Make room."), debug)) from error
        raise SystemExit(report_error(error, debug)) from error


def _drop_stdout() -> None:
    """Send what is left of the output nowhere: Python flushes once more at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_missing_streams() -> None:
    """Stand in for streams that the caller closed (``>&-``), which are None: what is printed goes nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the end


def print_any_text() -> None:
    """Let a terminal that knows ASCII only show other characters as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def terminate_like_interrupt() -> None:
    """Turn SIGTERM into :class:`Terminated` in this process, not in those that it forks."""
    owner = os.getpid()

    def handle(number: int, _: Any) -> None:
        if os.getpid() == owner:
            raise Terminated
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    free = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if free:
        signal.signal(signal.SIGTERM, handle)


def _report_end(end: BaseException) -> int:
    """Print why a process ends that was stopped from outside; return the exit code."""
    interrupted = isinstance(end, KeyboardInterrupt)
    print("interrupted" if interrupted else "terminated", file=sys.stderr)
    return EXIT_INTERRUPTED if interrupted else EXIT_TERMINATED


def report_error(error: BaseException, debug: bool | str = False) -> int:
    """Print one line about a failure on stderr, the traceback first if ``debug``; return the exit code."""
    if str(debug).lower() in ("true", "1", "yes"):
        traceback.print_exception(error)
    bad_input = find_input_error(error)
    if bad_input is not None:
        print(bad_input, file=sys.stderr)
        return EXIT_BAD_INPUT
    while error.__cause__ is not None:  # MONAI wraps what went wrong in what it was about to evaluate
        error = error.__cause__
    what = printable(f"{type(error).__name__}: {error}", 300)
    print(f"internal error {what}; run with --debug true for the traceback", file=sys.stderr)
    return EXIT_BUG


def one_line_errors(debug: bool | str = False) -> None:
    """Let every failure of this process end it as :func:`guarded` does, wherever in MONAI it is raised.

    Called first in a bundle's ``run``: what a config refers to is built outside any call that could guard it.
    """

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        stopped = isinstance(error, KeyboardInterrupt | Terminated)
        code = _report_end(error) if stopped else report_error(error, debug)
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # an exception hook cannot choose the exit code otherwise

    print_any_text()
    terminate_like_interrupt()
    sys.excepthook = hook
