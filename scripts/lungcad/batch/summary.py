# SPDX-License-Identifier: Apache-2.0
"""Summary of a batch: what became of every series, one table of all nodules, one of all refusals and crashes."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lungcad.atomic import whole_file
from lungcad.batch.journal import DONE, FAILED, REFUSED, Row, latest_rows
from lungcad.batch.run import expected_file, result_fingerprint
from lungcad.errors import InputError
from lungcad.results.nodules_csv import CSV_COLUMNS, text_cell
from lungcad.results.write import folder_name

MISSING = "missing"
"""State of a series that no process has settled."""


@dataclass
class Summary:
    """Summary of a batch: the state of each of its series.

    Attributes:
        rows: latest row of each settled series, by UID in the order of the manifest.
        missing: UIDs of the series that are not settled.
        studies: StudyInstanceUID by UID.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    studies: dict[str, str] = field(default_factory=dict)

    @property
    def states(self) -> dict[str, int]:
        """Number of series by state; refused ones by code."""
        count = Counter(row.state for row in self.rows.values()) + Counter({MISSING: len(self.missing)})
        return {state: count[state] for state in (DONE, REFUSED, FAILED, MISSING)}

    @property
    def codes(self) -> dict[str, int]:
        """Number of refused series by code, the most frequent first."""
        count = Counter(row.code for row in self.rows.values() if row.state == REFUSED)
        return dict(sorted(count.items(), key=lambda pair: (-pair[1], pair[0])))

    @property
    def done(self) -> Iterator[str]:
        """UIDs of the series with a result."""
        return (uid for uid, row in self.rows.items() if row.state == DONE)


def summarise(out: Path) -> Summary:
    """Summarise an output folder; a result that is not there, or not that of its row, is missing.

    Raises:
        InputError: E-TABLE, no batch was begun there.
    """
    path = expected_file(out)
    if not path.is_file():
        raise InputError("E-TABLE", "no batch was begun in that folder.", "Give the output folder of `lungcad batch`.")
    summary = Summary()
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        for cells in csv.DictReader(file):
            summary.studies[cells["series_uid"]] = cells["study_uid"]
    latest = latest_rows(out, summary.studies.__contains__)
    for uid in summary.studies:
        row = latest.get(uid)
        if row is None or (row.state == DONE and result_fingerprint(out, uid) != row.fingerprint):
            summary.missing.append(uid)
        else:
            summary.rows[uid] = row
    return summary


def merge_nodules(out: Path, summary: Summary) -> None:
    """Write ``<out>/nodules.csv``: the rows of all results, sorted by UID."""
    header = ",".join(CSV_COLUMNS)
    with whole_file(out / "nodules.csv") as part, part.open("w", newline="", encoding="utf-8") as merged:
        merged.write(f"{header}\r\n")
        for uid in sorted(summary.done):
            text = (out / folder_name(uid) / "nodules.csv").read_bytes().decode("utf-8")
            first, _, rest = text.partition("\r\n")
            if first != header:
                advice = "Analyse it again, or remove it."
                raise InputError("E-TABLE", f"nodules.csv of {uid} has other columns.", advice)
            merged.write(rest)


def write_refusals(out: Path, summary: Summary) -> None:
    """Write ``<out>/refusals.csv``: UID, study, state, code and reason of each series without a result."""
    with whole_file(out / "refusals.csv") as part, part.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("series_uid", "study_uid", "state", "code", "reason"))
        for uid, cells in sorted(_without_result(summary).items()):
            rows.writerow([text_cell(cell) for cell in (uid, summary.studies[uid], *cells)])


def _without_result(summary: Summary) -> Mapping[str, tuple[str, str, str]]:
    """State, code and reason of each series without a result, by UID."""
    cells = {uid: (row.state, row.code, row.reason) for uid, row in summary.rows.items() if row.state != DONE}
    return cells | {uid: (MISSING, "", "not analysed yet") for uid in summary.missing}
