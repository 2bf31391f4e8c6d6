# SPDX-License-Identifier: Apache-2.0
"""The operators: which series, what the chain finds in it, and what leaves the application.

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
"""What it means that a file is not there."""


class SeriesLoaderOperator(Operator):
    """Looks through the input folder for the CT series to be read.

    Several that could be read are the chain's to refuse (E-MULTI-SERIES), as is a folder without any.

    Args:
        input_path: folder with DICOM files, at any depth.

    Output:
        series: the folder, and the SeriesInstanceUID of the only readable CT series or None.
    """

    def __init__(self, fragment: Fragment, *args: Any, input_path: Path, **kwargs: Any) -> None:
        self.input_path = input_path
        super().__init__(fragment, CountCondition(fragment, 1), *args, **kwargs)  # once, not for ever

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the output."""
        spec.output("series")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Choose."""
        from lungcad.dicom import list_series

        listed = list_series(self.input_path)
        usable = [one for one in listed if one.usable]
        if len(usable) == 1:
            for one in listed:
                if not one.usable:
                    print(f"left out      {one.uid}: {one.code} {one.reason}", file=sys.stderr)
        op_output.emit((self.input_path, usable[0].uid if len(usable) == 1 else None), "series")


class NoduleChainOperator(Operator):
    """Runs the packed chain on a series: reading, lungs, detection, reduction, malignancy, all results.

    Args:
        chain: folder of the packed chain; its manifest is checked first.
        work: folder for results on their way.

    Input:
        series: as from :class:`SeriesLoaderOperator`.

    Output:
        results: the folder with nodules.json and what lies beside it, named after the series.
    """

    def __init__(self, fragment: Fragment, *args: Any, chain: Path, work: Path, **kwargs: Any) -> None:
        self.chain, self.work = chain, work
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare input and output."""
        spec.input("series")
        spec.output("results")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Run."""
        from lungcad.bundle.launch import run_bundle

        folder, series_uid = op_input.receive("series")
        found = {"dataset_dir": str(folder), "output_dir": str(self.work), "dicom_results": True}
        run_bundle(self.chain, found | ({"series_uid": series_uid} if series_uid else {}))
        (results,) = (path.parent for path in self.work.glob("*/nodules.json"))
        op_output.emit(results, "results")


class WriterOperator(Operator):
    """Hands on what the chain made: files of the results, into a folder named after the series.

    Args:
        names: of the files.
        output_path: the application's output folder.

    Input:
        results: as from :class:`NoduleChainOperator`.
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
        """Copy each file whole or not at all; say which there are none of."""
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
