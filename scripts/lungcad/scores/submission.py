# SPDX-License-Identifier: Apache-2.0
"""Scoring of a LUNA16 submission: from four tables to figures, a FROC curve and text for the terminal."""

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from lungcad.atomic import added_files
from lungcad.scores.detection import Curve, compare_detection, score_detection, score_without_nodules
from lungcad.scores.froc import ScoredScan
from lungcad.scores.luna16 import MAX_MARKS, Marks, best_marks, read_marks, read_series, read_spheres, score_scans
from lungcad.scores.plots import draw_curve, write_curve_csv


def score_submission(
    submission: str | Path, annotations: str | Path, excluded: str | Path, seriesuids: str | Path, *,
    series_map: str | Path | None = None, score_column: str = "probability", baseline: str | Path | None = None,
    more_fp_per_scan: Sequence[float] = (), max_marks: int = MAX_MARKS, bootstraps: int = 1000,
    ignore_other_scans: bool = False,
) -> tuple[dict[str, Any], Curve]:  # fmt: skip
    """Score a submission by LUNA16's rules (:mod:`lungcad.scores.luna16`).

    Args:
        submission: table of marks, ``seriesuid,coordX,coordY,coordZ,probability``.
        annotations: table of nodules.
        excluded: table of irrelevant findings; marks on them count neither way.
        seriesuids: list of scans.
        series_map: table ``short_id,seriesuid``, where the submission holds short ids.
        score_column: column of the submission that ranks its marks.
        baseline: another system's submission, ranked by ``probability``, to compare with.
        more_fp_per_scan: false positive rates of operating points besides LUNA16's seven.
        max_marks: largest number of marks per scan that count; 0 lets all count.
        bootstraps: number of bootstrap draws of scans.
        ignore_other_scans: leave out marks of scans that are not in the list, as annotations of such scans always are.

    Returns:
        Figures and curve of :func:`lungcad.scores.detection.score_detection`, or, where no scan of the list has a
        nodule, of :func:`lungcad.scores.detection.score_without_nodules`. The figures also have ``marks``, the
        number in the submission, ``marks_over_limit``, those that do not count, and ``marks_per_scan`` of those that
        do; and, with a baseline, ``baseline``, those of :func:`lungcad.scores.detection.compare_detection`.

    Raises:
        InputError: E-TABLE, a table is refused.
    """
    series = read_series(seriesuids)
    nodules, left_out = read_spheres(annotations, series)
    irrelevant, _ = read_spheres(excluded, series)

    def match(table: Mapping[str, Marks]) -> tuple[dict[str, Marks], list[ScoredScan]]:
        counted = {uid: best_marks(marks, max_marks) for uid, marks in table.items()}
        return counted, score_scans(series, nodules, irrelevant, counted)

    submitted, marks_left_out = read_marks(submission, series, series_map, score_column, ignore_other_scans)
    counted, scans = match(submitted)
    other = None
    if baseline is not None:
        other = match(read_marks(baseline, series, series_map, ignore_others=ignore_other_scans)[0])[1]
    figures, curve = _score(scans, other, more_fp_per_scan, bootstraps)
    total, kept = (sum(len(marks.scores) for marks in table.values()) for table in (submitted, counted))
    counts = {
        "marks": total, "marks_over_limit": total - kept, "marks_per_scan": kept / len(series),
        "annotations_left_out": left_out, "marks_left_out": marks_left_out,
    }  # fmt: skip
    return figures | counts, curve


def _score(
    scans: Sequence[ScoredScan], baseline: Sequence[ScoredScan] | None, more_fp_per_scan: Sequence[float],
    bootstraps: int,
) -> tuple[dict[str, Any], Curve]:  # fmt: skip
    """Figures and curve of matched scans, and ``baseline`` among the figures where there is one."""
    if any(len(scan.diameters_mm) for scan in scans):
        figures, curve = score_detection(scans, more_fp_per_scan, bootstraps)
        compared = None if baseline is None else compare_detection(scans, baseline, bootstraps)
    else:
        figures, curve = score_without_nodules(scans, more_fp_per_scan)
        compared = None if baseline is None else score_without_nodules(baseline)[0]
    return figures | ({} if compared is None else {"baseline": compared}), curve


def write_scores(output_dir: str | Path, figures: Mapping[str, Any], curve: Curve) -> None:
    """Write metrics.json, froc.csv and froc.png; raises InputError E-OUTPUT if the folder cannot be written."""
    with added_files(output_dir) as folder:
        (folder / "metrics.json").write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        write_curve_csv(folder / "froc.csv", curve)
        draw_curve(folder / "froc.png", curve, figures)


def as_text(figures: Mapping[str, Any]) -> str:
    """Figures as text for the terminal."""
    lines = [
        f"{figures['scans']} scans, {figures['nodules']} nodules: {figures['hits']} hit, {figures['missed']} missed; "
        f"{figures['false_positives']} false positives",
        _cpm_line(figures),
        "",
        *_operating_table(figures["operating_points"]),
        "",
        *_candidate_lines(figures),
        _true_negative_line(figures["true_negative_patients"]),
    ]
    if "baseline" in figures:
        lines.append(_baseline_line(figures["baseline"]))
    for kind in ("annotations", "marks"):
        if figures[f"{kind}_left_out"]:
            lines.append(f"{figures[f'{kind}_left_out']} {kind} of scans outside the list of series were left out")
    return "\n".join(lines)


def _cpm_line(figures: Mapping[str, Any]) -> str:
    if figures["cpm"] is None:
        left_out = figures["annotations_left_out"]
        check = f" (the {left_out} annotations are of other scans: do the tables belong together?)" if left_out else ""
        return f"CPM -: no scan of the list has a nodule{check}"
    low, high = figures["cpm_ci"]
    interval = f"95 % interval {low:.3f} to {high:.3f}, {figures['bootstraps']} bootstraps over scans"
    return f"CPM {figures['cpm']:.3f} ({interval})"


def _baseline_line(baseline: Mapping[str, Any]) -> str:
    if baseline["cpm"] is None:
        clear = baseline["true_negative_patients"]["scans_without_mark"]
        return f"the baseline: {baseline['false_marks_per_scan']:.1f} false marks per scan, {clear} scans without one"
    low, high = baseline["cpm_difference_ci"]
    difference = f"difference {baseline['cpm_difference']:+.3f} ({low:+.3f} to {high:+.3f}, the same draws for both)"
    return f"CPM of the baseline {baseline['cpm']:.3f}, {difference}"


def _operating_table(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of a table with one row per false positive rate; the sensitivity by diameter is that at the threshold."""
    ranges = list(points[0]["found_by_diameter"])
    lines = [f"FP/scan  sensitivity  95 % interval   threshold{''.join(f'{name:>10}' for name in ranges)}"]
    for point in points:
        rate = Fraction(point["fp_per_scan"])
        sensitivity, interval = _with_interval(point["sensitivity"], point["sensitivity_ci"])
        threshold = "-" if point["threshold"] is None else f"{point['threshold']:.6g}"
        parts = "".join(f"{_share(*found):>10}" for found in point["found_by_diameter"].values())
        name = str(rate) if rate.denominator <= 8 else f"{float(rate):g}"
        lines.append(f"{name:>7}  {sensitivity:>11}  {interval:>14}{threshold:>12}{parts}")
    return lines


def _share(found: int, total: int) -> str:
    return f"{found / total:.3f}" if total else "-"


def _with_interval(value: float | None, interval: Sequence[float] | None) -> tuple[str, str]:
    """Value and interval to three decimals, ``-`` where unknown."""
    return ("-", "-") if value is None or interval is None else (f"{value:.3f}", "{:.3f} to {:.3f}".format(*interval))


def _candidate_lines(figures: Mapping[str, Any]) -> list[str]:
    sensitivity, interval = _with_interval(figures["sensitivity"], figures["sensitivity_ci"])
    over = figures["marks_over_limit"]
    beyond = f" ({over} of {figures['marks']} over the limit)" if over else ""
    found = ", ".join(f"{name} {hit}/{total}" for name, (hit, total) in figures["found_by_diameter"].items())
    return [
        f"all marks: sensitivity {sensitivity} ({interval}) at "
        f"{figures['marks_per_scan']:.1f} marks{beyond} and {figures['false_marks_per_scan']:.1f} false per scan",
        f"found by diameter: {found}",
    ]


def _true_negative_line(figures: Mapping[str, Any]) -> str:
    target = f"sensitivity {figures['at_sensitivity']:g}"
    if figures["score"] is None and figures["scans_without_mark"] is not None:
        return f"{figures['scans_without_mark']} of {figures['scans_without_nodule']} scans have no mark at all"
    if figures["score"] is None:
        reason = f"{target} is not reached" if figures["scans_without_nodule"] else "every scan has a nodule"
        return f"true-negative-patient score: none, {reason}"
    return (f"true-negative-patient score at {target} (threshold {figures['threshold']:.6g}): {figures['score']:.3f}, "
            f"{figures['scans_without_mark']} of {figures['scans_without_nodule']} scans without a nodule")  # fmt: skip
