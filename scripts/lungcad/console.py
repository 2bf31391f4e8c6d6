# SPDX-License-Identifier: Apache-2.0
"""Terminal output of a run: one-line errors with exit codes, stage times, a table of findings.

Results go to stdout, everything else to stderr. Nothing here prints a path that was read: folders are often named
after patients.
"""

import contextlib
import errno
import json
import os
import signal
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.printable import printable
from lungcad.volume import Volume

T = TypeVar("T")

DISK_FULL = errno.ENOSPC, errno.EDQUOT
"""Numbers of system errors that say that nothing more can be written."""
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
        if isinstance(error, OSError) and error.errno in DISK_FULL and error.filename is None:  # of no file of ours
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


def find_input_error(error: BaseException | None) -> InputError | None:
    """Return the first :class:`InputError` among an exception, its causes and its contexts."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, InputError):
            return one
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            waiting += [one.__cause__, one.__context__]
    return None


class StageClock:
    """Seconds per stage, printed on stderr as the stages end.

    Args:
        silent: print nothing.

    Example:
        >>> clock = StageClock()
        >>> with clock("detect") as stage:
        ...     stage.note = "38 candidates"
        >>> list(clock.seconds)
        ['detect']
    """

    def __init__(self, silent: bool = False) -> None:
        self.silent = silent
        self.note = ""
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator["StageClock"]:
        """Time a stage; ``note``, if its body sets it, stands in its line. A stage that fails prints nothing."""
        self.note = ""
        start = time.perf_counter()
        yield self
        self.add(name, time.perf_counter() - start, self.note)

    def add(self, name: str, seconds: float, note: str = "") -> None:
        """Add a stage that was timed elsewhere."""
        self.seconds[name] = seconds
        if not self.silent:
            print(f"{name:<14}{note:<24}{seconds:6.1f} s", file=sys.stderr, flush=True)


def bar(steps: Iterable[T], name: str, unit: str) -> Iterable[T]:
    """Iterable with a progress bar that vanishes at the end; none where stderr is not a terminal."""
    from tqdm import tqdm

    iterated: Iterable[T] = tqdm(steps, desc=name, unit=unit, file=sys.stderr, leave=False, disable=None)
    return iterated


def header_lines(volume: Volume, *, bundles: Mapping[str, str], device: str, output: str) -> str:
    """Describe what runs on which scan, in five lines.

    Args:
        volume: the series that was read.
        bundles: name to version.
        device: in words.
        output: the output folder as the user gave it.
    """
    from lungcad import __version__

    x, y, z = volume.spacing_mm
    lines = {
        "lungcad": f"{__version__}  (research use only, not a medical device)",
        "bundles": ", ".join(f"{name} {version}" for name, version in bundles.items()),
        "device": device,
        "series": f"{printable(volume.description or volume.series_uid, 100)}, {volume.hu.shape[2]} slices, "
        f"{x:.2f} x {y:.2f} x {z:.2f} mm",
        "output": output,
    }
    return "\n".join(f"{name:<14}{text}" for name, text in lines.items())


def findings_table(findings: Sequence[Finding], summary: str) -> str:
    """Table of findings under a line of column names and the summary; an unknown value is a dash.

    Malignancy has a column where any finding has one.
    """
    if not findings:
        return summary
    graded = any(one.malignancy_probability is not None for one in findings)
    head = f"{'#':>3}  {'lps_mm':^24}  {'diam_mm':>7}  {'nodule':>6}" + (f"  {'malignancy':>10}" if graded else "")
    rows = [_row(number, finding, graded) for number, finding in enumerate(findings, start=1)]
    return "\n".join([summary, head, *rows])


def _row(number: int, finding: Finding, graded: bool) -> str:
    def cell(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    x, y, z = finding.center_lps_mm
    score = finding.score
    row = f"{number:>3}  {x:8.1f}{y:8.1f}{z:8.1f}  {cell(finding.diameter_mm, 1):>7}  {cell(score, 2):>6}"
    return row + f"  {cell(finding.malignancy_probability, 2):>10}" if graded else row


def series_remarks(series: Any) -> list[str]:
    """Acquisitions and notices of a listed series, one a line."""
    parts = [
        f"{series.uid}  acquisition {one.label}: {one.slices} slices, z={one.low_mm:.1f} to {one.high_mm:.1f} mm"
        for one in series.acquisitions
    ]
    return [*parts, *(f"{series.uid}  {notice}" for notice in series.notices)]


def spacing_text(spacing_mm: Sequence[float] | None) -> str:
    """Spacing such as ``0.70 x 0.70 x 2.50``; a dash where it is unknown."""
    return "-" if spacing_mm is None else " x ".join(f"{mm:.2f}" for mm in spacing_mm)


def text_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns under their names."""
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (names, *rows))
    return "\n".join(line.rstrip() for line in lines)


def format_text(entry: dict[str, Any]) -> str:
    """Channels, shape, type and format of an entry of a bundle's ``network_data_format``."""
    shape = " x ".join(map(str, entry.get("spatial_shape", []))) or "no spatial axes"
    return f"channels {entry.get('num_channels', '?')}, {shape}, {entry.get('dtype', '')}, {entry.get('format', '')}"


def indented(value: Any) -> str:
    """Lines of a text, a list or a dictionary, indented and wrapped at 100 columns."""
    if isinstance(value, dict):
        items = [f"{key}: {item}" for key, item in value.items()]
    else:
        items = [str(item) for item in value] if isinstance(value, list) else [str(value)]
    return "\n".join(textwrap.fill(item, 100, initial_indent="  ", subsequent_indent="    ") for item in items)


def print_json(document: Any) -> None:
    """Print a document as indented JSON."""
    print(json.dumps(document, indent=2, ensure_ascii=False))
