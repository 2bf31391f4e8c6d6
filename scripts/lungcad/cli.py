# SPDX-License-Identifier: Apache-2.0
"""Command ``lungcad``: its verbs and their flags. Torch and DICOM are imported only where a verb needs them."""

import dataclasses
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fire
from fire.decorators import SetParseFns

from lungcad import __version__
from lungcad.bundle.launch import check_override_values, parse_flags
from lungcad.bundle.values import PLUMBING
from lungcad.console import format_text, guarded, indented, print_json, series_remarks, spacing_text, text_table
from lungcad.errors import InputError
from lungcad.options import true_or_false

USAGE = """\
usage: lungcad run IN OUT [--bundle NAME] [--series_uid UID | --choose best] [--acquisition N] [--KEY VALUE ...]
       lungcad inspect DIR [--json]        which series are in DIR, and can they be used
       lungcad list [--json]               the bundles
       lungcad describe BUNDLE [--json]    what a bundle takes, gives and was measured at
       lungcad score | score_malignancy | relate_attributes --help   figures of a table (FROC; AUC; attributes)
       lungcad COMMAND --help | lungcad --version

IN is a DICOM folder, .mhd, .nii.gz or .nrrd; OUT gets a folder named after the series. Add --debug for tracebacks.
example: lungcad run scans/chest out && open out/*/report.html
Research use only. Not a medical device."""


_WEIGHTS = {True: "yes", False: "no", None: "-"}

_TEXTS = (
    "input_path", "output_dir", "folder", "bundle", "series_uid", "acquisition", "choose",
    "submission", "annotations", "excluded", "seriesuids",
    "series_map", "score_column", "baseline", "fp_per_scan", "predictions",
)  # fmt: skip

_as_text = SetParseFns(str, str, **dict.fromkeys(_TEXTS, str))
"""Keep fire from reading a folder called 2020 or 1e5 as a number."""


class Commands:
    """Lung-nodule CAD: run a bundle, inspect a folder, list and describe the bundles, score results."""

    @_as_text
    def run(
        self, input_path: str, output_dir: str, bundle: str = "lung_nodule_cad", series_uid: str | None = None,
        acquisition: str | None = None, choose: str | None = None, debug: bool = False, **overrides: Any,
    ) -> None:  # fmt: skip
        """Run a bundle on one CT series.

        Args:
            input_path: DICOM folder, .mhd, .nii.gz or .nrrd.
            output_dir: gets a folder named after the series; see :mod:`lungcad.bundle.run_help`.
            bundle: a name from ``lungcad list``.
            series_uid: which series, where the folder holds several.
            acquisition: which acquisition, where the series holds several; see ``lungcad inspect``.
            choose: ``best`` takes the most suitable of several series and tells why.
            debug: show tracebacks.
            overrides: further keys of the bundle's configs/inference.json.
        """
        from lungcad.bundle.registry import bundle_root, read_config

        root = bundle_root(bundle)
        values = {"dataset_dir": str(Path(input_path).absolute()), "output_dir": str(Path(output_dir).absolute())}
        hidden = {*values, *PLUMBING, "bundle_root"}
        known = {key: value for key, value in read_config(root).items() if key not in hidden}
        if series_uid is not None:
            overrides["series_uid"] = series_uid
        if acquisition is not None:
            overrides["acquisition"] = acquisition
        check_override_values(overrides, known)
        if choose is not None:
            overrides["series_uid"] = _best_series(input_path, choose, overrides)
        if true_or_false("debug", debug) and "debug" in known:
            overrides["debug"] = True

        from lungcad.bundle.launch import run_bundle

        run_bundle(root, values | overrides)

    @_as_text
    def inspect(self, folder: str, json: bool = False, leniency: Any = None, debug: bool = False) -> None:
        """List the series in a folder, which can be used, and why not.

        Args:
            folder: searched with all its subfolders.
            json: print JSON.
            leniency: as for ``run``, such as "{'max_spacing_mm': 7}".
            debug: show tracebacks.
        """
        from lungcad.dicom import list_series

        series = list_series(folder, **_leniency(leniency))
        if true_or_false("json", json):
            print_json([dataclasses.asdict(one) for one in series])
            return
        rows = [
            (
                one.uid or "-", one.modality or "-", one.description or "-", str(one.slices),
                spacing_text(one.spacing_mm),
                "usable" if one.usable else f"no: {one.code} {one.reason}",
            )
            for one in series
        ]  # fmt: skip
        print(text_table(("series", "modality", "description", "slices", "spacing_mm", "usable"), rows))
        for line in dict.fromkeys(line for one in series for line in series_remarks(one)):
            print(line)

    def list(self, json: bool = False, debug: bool = False) -> None:
        """List the bundles.

        Args:
            json: print JSON.
            debug: show tracebacks.
        """
        from lungcad.bundle.registry import list_bundles

        bundles = list_bundles()
        if true_or_false("json", json):
            print_json(bundles)
            return
        rows = [(one["name"], one["version"] or "-", _WEIGHTS[one["weights"]], one["task"] or "-") for one in bundles]
        print(text_table(("bundle", "version", "weights", "task"), rows) if rows else "no bundle found")

    @_as_text
    def describe(self, bundle: str, json: bool = False, debug: bool = False) -> None:
        """Describe a bundle: its input and output, where it comes from and how it was measured.

        Args:
            bundle: a name from ``lungcad list``.
            json: print its whole metadata.json.
            debug: show tracebacks.
        """
        from lungcad.bundle.registry import describe

        metadata = describe(bundle)
        if true_or_false("json", json):
            print_json(metadata)
            return
        wanted = (
            "task", "description", "intended_use", "data_source", "data_type", "image_classes", "label_classes",
            "pred_classes", "eval_metrics", "references", "copyright",
        )  # fmt: skip
        print(f"{metadata['name']} {metadata.get('version', '')}")
        for key in wanted:
            if metadata.get(key):
                print(f"\n{key.replace('_', ' ')}\n{indented(metadata[key])}")
        for side, entries in metadata.get("network_data_format", {}).items():
            print(f"\nnetwork {side}\n{indented({name: format_text(one) for name, one in entries.items()})}")

    @_as_text
    def score(
        self, *, submission: str, annotations: str, excluded: str, seriesuids: str, output_dir: str,
        series_map: str | None = None, score_column: str = "probability", baseline: str | None = None,
        fp_per_scan: str = "", max_marks: int = 100, bootstraps: int = 1000, json: bool = False, debug: bool = False,
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
            json: print JSON.
            debug: show tracebacks.
        """
        from lungcad.options import positive_numbers, whole_number
        from lungcad.scores.submission import as_text, score_submission, write_scores

        figures, curve = score_submission(
            submission, annotations, excluded, seriesuids, series_map=series_map, score_column=score_column,
            baseline=baseline, more_fp_per_scan=positive_numbers("fp_per_scan", fp_per_scan),
            max_marks=whole_number("max_marks", max_marks, 0), bootstraps=whole_number("bootstraps", bootstraps, 1),
        )  # fmt: skip
        write_scores(output_dir, figures, curve)
        if true_or_false("json", json):
            print_json(figures)
        else:
            print(f"{as_text(figures)}\n\nwritten to {output_dir}: metrics.json, froc.csv, froc.png")

    @_as_text
    def score_malignancy(
        self, *, predictions: str, output_dir: str, baseline: str | None = None, threshold: float = 0.5,
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

    @_as_text
    def relate_attributes(self, predictions: str, output_dir: str, json: bool = False, debug: bool = False) -> None:
        """Rank LIDC's eight attributes by how they go with malignancy, as readers and as a network scored them.

        Args:
            predictions: CSV as score_malignancy takes it, with all eight attributes; several, separated by commas
                (the folds of a cross validation), are pooled.
            output_dir: gets relatedness.json, relatedness.md, tsne_discarded.png and tsne_all.png.
            json: print JSON.
            debug: show tracebacks.
        """
        from lungcad.scores.attributes import as_text, read_pooled, relate_attributes

        paths = [part.strip() for part in predictions.removeprefix("[").removesuffix("]").split(",")]
        figures = relate_attributes(*read_pooled([path for path in paths if path]), output_dir)
        if true_or_false("json", json):
            print_json(figures)
        else:
            names = "relatedness.json, relatedness.md, tsne_discarded.png, tsne_all.png"
            print(f"{as_text(figures)}\n\nwritten to {output_dir}: {names}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the console script: exit code 0 done, 2 bad input or usage, 1 a bug."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE)
    elif arguments[0] == "--version":
        print(f"lungcad {__version__}")
    else:
        guarded(_dispatch, arguments, debug=parse_flags(arguments).get("debug", False))


def _dispatch(arguments: list[str]) -> None:
    commands = [name for name in vars(Commands) if not name.startswith("_")]
    if arguments[0] not in commands:
        near = difflib.get_close_matches(arguments[0], commands, n=1)
        hint = f"Did you mean {near[0]}?" if near else "Run lungcad without arguments for help."
        raise InputError("E-USAGE", f"unknown command: {arguments[0]} (expected {', '.join(commands)}).", hint)
    if arguments[0] == "run" and {"-h", "--help"} & set(arguments):
        from lungcad.bundle.run_help import run_help

        print(run_help(parse_flags(arguments).get("bundle", "lung_nodule_cad")))
        return
    if {"-h", "--help"} & set(arguments):
        arguments = [arguments[0], "--", "--help"]  # the form that fire answers with exit code 0
    fire.Fire(Commands(), command=arguments, name="lungcad")


def _leniency(value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        text = "--leniency is no list of options (expected such as \"{'max_spacing_mm': 7}\")."
        raise InputError("E-CONFIG", text)
    return dict(value or {})


def _best_series(folder: str, choose: str, overrides: dict[str, Any]) -> str:
    """UID of the most suitable series; says which and why on stderr."""
    if choose != "best" or "series_uid" in overrides:
        raise InputError("E-USAGE", "--choose takes the word best, and no --series_uid beside it.")
    from lungcad.dicom import choose_best

    best = choose_best(folder, **_leniency(overrides.get("leniency")))
    print(f"{'chosen':<14}{best.uid}: {best.reason}", file=sys.stderr)
    return best.uid
