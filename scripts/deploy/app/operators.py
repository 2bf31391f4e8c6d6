# SPDX-License-Identifier: Apache-2.0
"""Operators of the application: choose the series, run the chain on it, write the results.

Series are read by ``lungcad.dicom``, not by the SDK's DICOMSeriesToVolumeOperator: that one (4.0.0) takes the row
spacing for the column spacing, stores all slices in the type of the first, so that -900 HU can become 64636, and does
not miss a missing slice.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from monai.deploy.conditions import CountCondition
from monai.deploy.core import Fragment, Operator, OperatorSpec

MISSING = {"nodules.seg.dcm": "no reported nodule has a mask, unless the chain says otherwise above"}
"""Reasons for an absent file, by its name."""


class SeriesLoaderOperator(Operator):
    """Operator that chooses the CT series of the input folder.

    The chain refuses a folder with several readable series (E-MULTI-SERIES) or without any.

    Args:
        input_path: folder with DICOM files, at any depth.

    Output:
        series: the folder, and the SeriesInstanceUID of the only readable CT series, else None.
    """

    def __init__(self, fragment: Fragment, *args: Any, input_path: Path, **kwargs: Any) -> None:
        self.input_path = input_path
        super().__init__(fragment, CountCondition(fragment, 1), *args, **kwargs)  # once, not for ever

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the output."""
        spec.output("series")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Choose the series and print those left out."""
        from lungcad.dicom import list_series

        listed = list_series(self.input_path)
        usable = [series for series in listed if series.usable]
        if len(usable) == 1:
            for series in listed:
                if not series.usable:
                    print(f"left out      {series.uid}: {series.code} {series.reason}", file=sys.stderr)
        op_output.emit((self.input_path, usable[0].uid if len(usable) == 1 else None), "series")


class NoduleChainOperator(Operator):
    """Operator that runs the packed chain on a series: reading, lungs, detection, reduction, malignancy, all results.

    Args:
        chain: folder of the packed chain; its manifest is checked first.
        work: folder for intermediate results.

    Input:
        series: output of :class:`SeriesLoaderOperator`.

    Output:
        results: the folder with nodules.json and the other results, named after the series.
    """

    def __init__(self, fragment: Fragment, *args: Any, chain: Path, work: Path, **kwargs: Any) -> None:
        self.chain, self.work = chain, work
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare input and output."""
        spec.input("series")
        spec.output("results")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Run the chain; raises InputError for whatever it refuses."""
        from lungcad.bundle.launch import run_bundle

        folder, series_uid = op_input.receive("series")
        overrides = {"dataset_dir": str(folder), "output_dir": str(self.work), "dicom_results": True}
        run_bundle(self.chain, overrides | ({"series_uid": series_uid} if series_uid else {}))
        (results,) = (path.parent for path in self.work.glob("*/nodules.json"))
        op_output.emit(results, "results")


class WriterOperator(Operator):
    """Operator that copies result files of the chain into a folder named after the series.

    Args:
        names: names of the files.
        output_path: output folder of the application.

    Input:
        results: output of :class:`NoduleChainOperator`.
    """

    def __init__(
        self, fragment: Fragment, *args: Any, names: tuple[str, ...], output_path: Path, **kwargs: Any
    ) -> None:
        self.names, self.output_path = names, output_path
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the input."""
        spec.input("results")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Copy each file completely or not at all, and print the absent ones."""
        from lungcad.atomic import whole_file

        results = op_input.receive("results")
        target = self.output_path / results.name
        for name in self.names:
            if (results / name).is_file():
                with whole_file(target / name) as part:
                    shutil.copyfile(results / name, part)
                print(f"written       {target / name}", file=sys.stderr)
            else:
                (target / name).unlink(missing_ok=True)  # of an earlier run
                print(f"no {name}: {MISSING.get(name, 'the chain has not written it')}", file=sys.stderr)
