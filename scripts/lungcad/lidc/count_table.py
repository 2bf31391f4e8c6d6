# SPDX-License-Identifier: Apache-2.0
"""Markdown tables of our counts beside the papers' counts, with the measured reasons for differences."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lungcad.lidc.counts import (
    MalignancyCounts,
    ScanCounts,
    count_by_malignancy,
    count_jnsc,
    count_scans,
    mean_malignancy,
    median_malignancy,
    with_min_readers,
    within_size,
)
from lungcad.lidc.luna16_match import Luna16Match
from lungcad.lidc.nodules import LidcNodule
from lungcad.lidc.readings import LidcScan

NOT_GIVEN = "needs --luna16_tables"
"""Cell text where LUNA16's tables are needed."""


@dataclass(frozen=True)
class CountReport:
    """Scans, nodules and LUNA16's reference from which the tables are made.

    Attributes:
        scans: all scans that were read.
        nodules: all nodules of these scans.
        luna16: UIDs of LUNA16's series; None where they are not given.
        match: comparison of nodules with LUNA16's reference; None where it is not given.
    """

    scans: Sequence[LidcScan]
    nodules: Sequence[LidcNodule]
    luna16: frozenset[str] | None = None
    match: Luna16Match | None = None

    @property
    def in_luna16(self) -> list[LidcNodule]:
        """Nodules in LUNA16's series."""
        return [nodule for nodule in self.nodules if nodule.series_uid in (self.luna16 or ())]


def render_counts(report: CountReport) -> str:
    """Markdown of all tables, one below the other."""
    parts = [_scan_table(report), _reader_table(report), _luna16_table(report), _mtmrnet_table(report),
             _jnsc_table(report)]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _markdown(title: str, head: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> str:
    """Markdown section with a table and, below it, a note."""
    lines = [f"## {title}", "", _line(head), _line(["---"] * len(head)), *map(_line, rows)]
    return "\n".join([*lines, "", note] if note else lines)


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _scan_table(report: CountReport) -> str:
    count = count_scans(report.scans, None if report.luna16 is None else set(report.luna16))
    left = count.scans - count.thick - count.uneven
    rows = [
        ("CT scans", count.scans, "1018 (all papers)", ""),
        ("patients", count.patients, "", f"{count.patients_twice} patients have more than one scan"),
        ("scans with a reading of 3 mm or more", count.with_readings, "", f"{count.readings} readings"),
        ("slices thicker than 2.5 mm", count.thick, "left out of LUNA16", "as JNSC says of LUNA16"),
        ("thinner, but slices missing or doubled", count.uneven, "", "distances of slices differ by more than 1 %"),
        ("neither", left, "888 (LUNA16)", _scan_reason(count)),
    ]
    marks = Counter(mark.kind for scan in report.scans for mark in scan.marks)
    rows += [(f"marks: {kind}", number, "", "not counted as nodules") for kind, number in sorted(marks.items())]
    return _markdown("Scans", ("", "here", "papers", "why"), rows)


def _scan_reason(count: ScanCounts) -> str:
    if count.luna16 is None:
        return NOT_GIVEN
    return (
        f"of LUNA16's list {count.luna16} are here, {count.luna16_thick} thick and {count.luna16_uneven} uneven; "
        f"{count.unexplained} thin and even scans are not on it, for a reason that the readings do not show"
    )


def _reader_table(report: CountReport) -> str:
    kinds = [("all scans", report.nodules)] + ([("LUNA16's scans", report.in_luna16)] if report.luna16 else [])
    rows = []
    for name, nodules in kinds:
        for readers in (1, 2, 3, 4):
            chosen = with_min_readers(nodules, readers)
            mean, median = count_by_malignancy(chosen, mean_malignancy), count_by_malignancy(chosen, median_malignancy)
            rows.append((name, f"{readers} or more", len(chosen), mean.below, mean.at, mean.above,
                         median.below, median.at, median.above))  # fmt: skip
    head = ("", "readers", "nodules", "mean < 3", "mean = 3", "mean > 3", "median < 3", "median = 3", "median > 3")
    touching = sum(nodule.touching for nodule in report.nodules)
    note = f"{touching} nodules have more than four readings: they touch and could not be separated."
    return _markdown("Nodules by number of readers", head, rows, note)


def _luna16_table(report: CountReport) -> str:
    match = report.match
    title, head = "LUNA16's reference: 1186 nodules of three or more readers", ("", "here", "LUNA16")
    if match is None:
        return _markdown(title, head, [("nodules in its scans", NOT_GIVEN, 1186)])
    rows = [
        ("nodules of 3 or more readers in its scans", len(with_min_readers(report.in_luna16, 3)), match.reference),
        ("series with as many nodules", match.equal, match.series),
        ("z and diameter within 0.01 mm, readings averaged two at a time", match.same, match.reference),
        ("the same, plain mean of the readings", match.same_plain, match.reference),
        ("mean difference of the plain mean's diameter", f"{match.error_mm:.2f} mm", ""),
    ]
    differing = [
        f"- series ...{uid[-8:]}: {counted} here, {reference} there: {_luna16_reason(counted, reference, touching)}"
        for uid, counted, reference, touching in match.different
    ]
    return _markdown(title, head, rows, "\n".join(["Equal totals hide series that differ:", "", *differing])
                     if differing else "")  # fmt: skip


def _luna16_reason(counted: int, reference: int, touching: int) -> str:
    """Reason for different numbers of nodules in a series."""
    if counted < reference:
        return "nodules that touch are one here" if touching else "readings apart here are joined there"
    return "readings joined here are apart there"


def _mtmrnet_table(report: CountReport) -> str:
    sized = within_size(report.nodules)
    rules: list[tuple[str, MalignancyCounts]] = [
        ("mean, all scans", count_by_malignancy(report.nodules, mean_malignancy)),
        ("the paper's words: mean, all scans, 3 to 30 mm", count_by_malignancy(sized, mean_malignancy)),
        ("... and two or more readers", count_by_malignancy(with_min_readers(sized, 2), mean_malignancy)),
        ("... and three or more readers", count_by_malignancy(with_min_readers(sized, 3), mean_malignancy)),
    ]
    if report.luna16 is not None:
        in_luna16 = report.in_luna16
        rules += [
            ("mean, LUNA16's scans, 3 to 30 mm", count_by_malignancy(within_size(in_luna16), mean_malignancy)),
            ("median, LUNA16's scans", count_by_malignancy(in_luna16, median_malignancy)),
            ("median, LUNA16's scans, 3 to 30 mm", count_by_malignancy(within_size(in_luna16), median_malignancy)),
        ]
    rows = [
        (name, n.below, n.above, n.below + n.above, n.at, f"{n.below - 972:+d}", f"{n.above - 450:+d}")
        for name, n in rules
    ]
    head = ("rule", "benign", "malignant", "both", "left out (3)", "benign - 972", "malignant - 450")
    name, nearest = min(rules, key=lambda rule: abs(rule[1].below - 972) + abs(rule[1].above - 450))
    note = (
        f"Nearest: {name} ({nearest.below} and {nearest.above}). Which rule the paper followed cannot be known: it "
        "does not say how many readers a nodule needs, how the diameter is measured or how readings are joined, and "
        "its five folds of 250 nodules make 1250, not its 1422."
    )
    return _markdown("MTMR-Net: 972 benign and 450 malignant nodules", head, rows, note)


def _jnsc_table(report: CountReport) -> str:
    rows = list(count_jnsc(report.nodules).items())
    note = "Marginal: one or two readers and a median of 2 to 4. The figures of the paper's table 2 are not at hand."
    return _markdown("JNSC: classes by the median, all scans", ("class", "nodules"), rows, note)
