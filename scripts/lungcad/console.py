# SPDX-License-Identifier: Apache-2.0
"""Terminal output of a run: stage times, progress bars, tables of findings and series.

Results go to stdout, everything else to stderr. Nothing here prints a path that was read: folders are often named
after patients.
"""

import contextlib
import json
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from lungcad.finding import Finding
from lungcad.printable import printable
from lungcad.volume import Volume

T = TypeVar("T")


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

    Diameters are measured ones where there is one (:attr:`~lungcad.finding.Finding.size_mm`). Malignancy has a column
    where any finding has one.
    """
    if not findings:
        return summary
    graded = any(finding.malignancy_probability is not None for finding in findings)
    head = f"{'#':>3}  {'lps_mm':^24}  {'diam_mm':>7}  {'nodule':>6}" + (f"  {'malignancy':>10}" if graded else "")
    rows = [_row(number, finding, graded) for number, finding in enumerate(findings, start=1)]
    return "\n".join([summary, head, *rows])


def _row(number: int, finding: Finding, graded: bool) -> str:
    def cell(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    x, y, z = finding.center_lps_mm
    score = finding.score
    row = f"{number:>3}  {x:8.1f}{y:8.1f}{z:8.1f}  {cell(finding.size_mm, 1):>7}  {cell(score, 2):>6}"
    return row + f"  {cell(finding.malignancy_probability, 2):>10}" if graded else row


def series_remarks(series: Any) -> list[str]:
    """Acquisitions and notices of a listed series, one a line."""
    parts = [
        f"{series.uid}  acquisition {acquisition.label}: {acquisition.slices} slices, "
        f"z={acquisition.low_mm:.1f} to {acquisition.high_mm:.1f} mm"
        for acquisition in series.acquisitions
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
