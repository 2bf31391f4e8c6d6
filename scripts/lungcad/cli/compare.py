# SPDX-License-Identifier: Apache-2.0
"""Verb compare: two scans of one patient."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lungcad.bundle.registry import CHAIN
from lungcad.console import StageClock, text_table
from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.options import options_by_name, true_or_false


def compare(
    prior: str, current: str, output_dir: str, days: Any = None, prior_date: str | None = None,
    current_date: str | None = None, same_patient: bool = False, prior_results: str | None = None,
    current_results: str | None = None, prior_series_uid: str | None = None, current_series_uid: str | None = None,
    leniency: Any = None, debug: bool = False,
) -> None:  # fmt: skip
    """Compare two scans of one patient: growing, new, resolved nodules.

    A scan that has no results in OUT yet is run first, with the default chain.

    Args:
        prior: earlier scan: DICOM folder, .mhd, .nii.gz or .nrrd.
        current: later scan.
        output_dir: gets a folder compare_<current series>_..., and those of the scans that had to be run.
        days: days between the scans, where the headers do not say; volume files need it, or both dates.
        prior_date: date of the prior scan as YYYYMMDD.
        current_date: date of the current scan.
        same_patient: true if you know that both are of one patient though the headers do not say so.
        prior_results: folder with nodules.json of the prior scan, where it is not in OUT.
        current_results: folder with nodules.json of the current scan, where it is not in OUT.
        prior_series_uid: which series, where the prior folder holds several.
        current_series_uid: which series, where the current folder holds several.
        leniency: as for run.
        debug: show tracebacks.
    """
    from lungcad.atomic import check_output, check_replaceable
    from lungcad.followup import compare as compare_exams
    from lungcad.followup import write_comparison
    from lungcad.followup.exam import read_header
    from lungcad.followup.growth import own_variation
    from lungcad.followup.pair import check_patient, days_between
    from lungcad.followup.write import MARK, comparison_folder
    from lungcad.reading.volume_file import read_volume

    clock, told = StageClock(), true_or_false("same_patient", same_patient)
    check_output(output_dir)
    with clock("read"):
        series = ((prior, prior_series_uid), (current, current_series_uid))
        volumes = [read_volume(path, uid, **options_by_name("leniency", leniency)) for path, uid in series]
        before, now = (read_header(volume) for volume in volumes)
    notices = check_patient(before, now, volumes[0], volumes[1], told)
    span = days_between(before, now, days, prior_date, current_date, told)
    check_replaceable(comparison_folder(output_dir, volumes[0], volumes[1]), mark=MARK)
    exams = [
        _exam(volume, path, given, header, output_dir, leniency)
        for volume, path, given, header in zip(
            volumes, (prior, current), (prior_results, current_results), (before, now), strict=True
        )
    ]
    with clock("compare") as line:
        variation = own_variation(volumes[0], volumes[1])
        comparison = compare_exams(exams[0], exams[1], span, measurer(), variation, notices)
        line.note = f"{100 * comparison.overlap:.0f} % of the lungs overlap"
    for notice in comparison.notices:
        print(f"{'warning':<14}{notice}", file=sys.stderr)
    folder = write_comparison(comparison, output_dir)
    rows = [(str(number), lesion.status, lesion.reason) for number, lesion in enumerate(comparison.lesions, start=1)]
    print(text_table(("nodule", "status", "why"), rows) if rows else "no nodule in either scan")
    print(f"comparison: {folder / 'comparison.html'}")


def measurer() -> Callable[[Any, Sequence[Finding]], list[Finding]] | None:
    """Function that measures findings of a scan with the chain's measuring stage; None where the chain has none."""
    from lungcad.chain.chain import Chain
    from lungcad.chain.stage import BundleStage
    from lungcad.measure import measure_findings

    chain = Chain()
    if "measure" not in chain.bundles:
        return None
    stage = BundleStage(chain.bundles["measure"], chain.device, stage="measure")
    return lambda scan, findings: measure_findings(scan, findings, stage)


def _exam(volume: Any, path: str, given: str | None, header: Any, output_dir: str, leniency: Any) -> Any:
    """Exam of a scan with the findings of its run, which is made now where there is none."""
    from lungcad.followup import read_exam
    from lungcad.followup.tracking import tracking_uids
    from lungcad.followup.write import earlier_comparisons
    from lungcad.scan.scan import Scan

    folder = _results(volume, path, given, output_dir, leniency)
    known = tracking_uids(folder, volume.public_uid, earlier_comparisons(output_dir, volume))
    return read_exam(Scan(volume), folder, header, known)


def _results(volume: Any, path: str, given: str | None, output_dir: str, leniency: Any) -> Path:
    """Folder of a scan's results: the given one, the scan's own, that in the output folder, else of a run now."""
    from lungcad.followup.exam import find_results
    from lungcad.results.write import result_folder

    if given is not None:
        if not (Path(given) / "nodules.json").is_file():
            raise InputError("E-PAIR-RESULTS", "the folder of results holds no nodules.json.", "Give out/<series>.")
        return Path(given)
    own_folder = result_folder(output_dir, volume)
    found = find_results(volume, *([Path(path)] if Path(path).is_dir() else []), own_folder)
    if found is None:
        _run(volume, path, output_dir, leniency)
    return found or own_folder


def _run(volume: Any, path: str, output_dir: str, leniency: Any) -> None:
    from lungcad.bundle.launch import run_bundle
    from lungcad.bundle.registry import bundle_root
    from lungcad.reading.volume_file import is_volume_file

    values = {"dataset_dir": str(Path(path).absolute()), "output_dir": str(Path(output_dir).absolute())}
    chosen = {} if is_volume_file(path) else {"series_uid": volume.series_uid}
    run_bundle(bundle_root(CHAIN), values | chosen | ({"leniency": leniency} if leniency else {}))
