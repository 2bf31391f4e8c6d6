# SPDX-License-Identifier: Apache-2.0
"""Verbs on scans and bundles: run, inspect, list, describe."""

import dataclasses
from pathlib import Path
from typing import Any

from lungcad.bundle.launch import check_override_values
from lungcad.bundle.lean import optional_packages_withheld
from lungcad.bundle.registry import CHAIN
from lungcad.bundle.values import PLUMBING
from lungcad.console import format_text, indented, print_json, series_remarks, spacing_text, text_table
from lungcad.errors import InputError
from lungcad.options import options_by_name, true_or_false

_WEIGHTS = {True: "yes", False: "no", None: "-"}


def run(
    input_path: str, output_dir: str, bundle: str = CHAIN, series_uid: str | None = None,
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

    with optional_packages_withheld():
        from lungcad.cli.start import start
        from lungcad.dicom import BEST
    if not input_path or not output_dir:
        raise InputError("E-USAGE", f"{'OUT' if input_path else 'IN'} is empty.", "Give lungcad run IN OUT.")
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
        if choose != BEST or series_uid is not None:
            raise InputError("E-USAGE", f"--choose takes the word {BEST}, and no --series_uid beside it.")
        overrides["series_uid"] = BEST
    if true_or_false("debug", debug) and "debug" in known:
        overrides["debug"] = True

    from lungcad.bundle.launch import run_bundle

    start(root, read_config(root) | values | overrides)
    run_bundle(root, values | overrides)


def inspect(folder: str, json: bool = False, leniency: Any = None, debug: bool = False) -> None:
    """List the series in a folder, which can be used, and why not.

    Args:
        folder: searched with all its subfolders.
        json: print JSON.
        leniency: as for ``run``, such as "{'max_spacing_mm': 7}".
        debug: show tracebacks.
    """
    with optional_packages_withheld():
        from lungcad.dicom import list_series
    series = list_series(folder, **options_by_name("leniency", leniency))
    if true_or_false("json", json):
        print_json([dataclasses.asdict(summary) for summary in series])
        return
    rows = [
        (
            summary.uid or "-", summary.modality or "-", summary.description or "-", str(summary.slices),
            spacing_text(summary.spacing_mm),
            "usable" if summary.usable else f"no: {summary.code} {summary.reason}",
        )
        for summary in series
    ]  # fmt: skip
    print(text_table(("series", "modality", "description", "slices", "spacing_mm", "usable"), rows))
    for line in dict.fromkeys(line for summary in series for line in series_remarks(summary)):
        print(line)


def list_bundles(json: bool = False, debug: bool = False) -> None:
    """List the bundles.

    Args:
        json: print JSON.
        debug: show tracebacks.
    """
    from lungcad.bundle import registry

    bundles = registry.list_bundles()
    if true_or_false("json", json):
        print_json(bundles)
        return
    rows = [
        (entry["name"], entry["version"] or "-", _WEIGHTS[entry["weights"]], entry["task"] or "-") for entry in bundles
    ]
    print(text_table(("bundle", "version", "weights", "task"), rows) if rows else "no bundle found")


def describe(bundle: str, json: bool = False, debug: bool = False) -> None:
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
    shown = (
        "task", "description", "intended_use", "data_source", "data_type", "image_classes", "label_classes",
        "pred_classes", "eval_metrics", "references", "copyright",
    )  # fmt: skip
    print(f"{metadata['name']} {metadata.get('version', '')}")
    for key in shown:
        if metadata.get(key):
            print(f"\n{key.replace('_', ' ')}\n{indented(metadata[key])}")
    for side, entries in metadata.get("network_data_format", {}).items():
        print(
            f"\nnetwork {side}\n{indented({name: format_text(data_format) for name, data_format in entries.items()})}"
        )
