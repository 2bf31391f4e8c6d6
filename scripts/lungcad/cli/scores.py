# SPDX-License-Identifier: Apache-2.0
"""Verbs that score tables: score, score_malignancy, relate_attributes."""

from lungcad.console import print_json
from lungcad.options import true_or_false


def score(
    *, submission: str, annotations: str, excluded: str, seriesuids: str, output_dir: str,
    series_map: str | None = None, score_column: str = "probability", baseline: str | None = None,
    fp_per_scan: str = "", max_marks: int = 100, bootstraps: int = 1000, ignore_other_scans: bool = False,
    json: bool = False, debug: bool = False,
) -> None:  # fmt: skip
    """Score a table of findings by LUNA16's rules: sensitivities, CPM with interval, operating points.

    Args:
        submission: CSV with seriesuid, coordX, coordY, coordZ (LPS mm), probability; .gz and tabs are fine.
        annotations: LUNA16's annotations.csv, the nodules.
        excluded: LUNA16's annotations_excluded.csv; marks on these findings count neither way.
        seriesuids: LUNA16's seriesuids.csv, the scans.
        output_dir: gets metrics.json, froc.csv and froc.png.
        series_map: CSV with short_id, seriesuid, where the submission holds short ids.
        score_column: of the submission, that ranks its marks, such as detection_score in nodules.csv.
        baseline: submission of another system to compare with, ranked by probability.
        fp_per_scan: further operating points whose threshold is shown, such as 0.5,3.
        max_marks: per scan; LUNA16's limit is 100, 0 lifts it.
        bootstraps: rounds over scans for the intervals.
        ignore_other_scans: leave out marks of scans that are not in seriesuids, as annotations of such scans are.
        json: print JSON.
        debug: show tracebacks.
    """
    from lungcad.options import positive_numbers, whole_number
    from lungcad.scores.submission import as_text, score_submission, write_scores

    figures, curve = score_submission(
        submission, annotations, excluded, seriesuids, series_map=series_map, score_column=score_column,
        baseline=baseline, more_fp_per_scan=positive_numbers("fp_per_scan", fp_per_scan),
        max_marks=whole_number("max_marks", max_marks, 0), bootstraps=whole_number("bootstraps", bootstraps, 1),
        ignore_other_scans=true_or_false("ignore_other_scans", ignore_other_scans),
    )  # fmt: skip
    write_scores(output_dir, figures, curve)
    if true_or_false("json", json):
        print_json(figures)
    else:
        print(f"{as_text(figures)}\n\nwritten to {output_dir}: metrics.json, froc.csv, froc.png")


def score_malignancy(
    *, predictions: str, output_dir: str, baseline: str | None = None, threshold: float = 0.5,
    bins: int = 10, bootstraps: int = 1000, json: bool = False, debug: bool = False,
) -> None:  # fmt: skip
    """Score a table of malignancy predictions: AUC, accuracy, calibration, errors of the attributes.

    Args:
        predictions: CSV with nodule_id, probability, and label (0, 1) or mean_malignancy (1 to 5, 3 is left out);
            optional: patient_id, and pairs such as spiculation, spiculation_true on LIDC's scales.
        output_dir: gets metrics.json and reliability.png.
        baseline: predictions of another system to compare with, over the nodules that both tables have.
        threshold: least probability that is called malignant.
        bins: of the reliability diagram and the expected calibration error, of equal width.
        bootstraps: rounds over patients for the intervals.
        json: print JSON.
        debug: show tracebacks.
    """
    from lungcad.options import probability, whole_number
    from lungcad.scores.predictions import as_text, score_predictions, write_scores

    figures = score_predictions(
        predictions, baseline=baseline, threshold=probability("threshold", threshold),
        bins=whole_number("bins", bins, 1), bootstraps=whole_number("bootstraps", bootstraps, 1),
    )  # fmt: skip
    write_scores(output_dir, figures)
    if true_or_false("json", json):
        print_json(figures)
    else:
        print(f"{as_text(figures)}\n\nwritten to {output_dir}: metrics.json, reliability.png")


def relate_attributes(predictions: str, output_dir: str, json: bool = False, debug: bool = False) -> None:
    """Rank LIDC's eight attributes by how they go with malignancy, as readers and as a network scored them.

    Args:
        predictions: CSV as score_malignancy takes it, with all eight attributes; several, separated by commas
            (the folds of a cross validation), are pooled.
        output_dir: gets relatedness.json, relatedness.md, tsne_discarded.png and tsne_all.png.
        json: print JSON.
        debug: show tracebacks.
    """
    from lungcad.options import listed
    from lungcad.scores.attributes import as_text, read_pooled, relate_attributes

    figures = relate_attributes(*read_pooled(listed(predictions)), output_dir)
    if true_or_false("json", json):
        print_json(figures)
    else:
        names = "relatedness.json, relatedness.md, tsne_discarded.png, tsne_all.png"
        print(f"{as_text(figures)}\n\nwritten to {output_dir}: {names}")
