# SPDX-License-Identifier: Apache-2.0
"""Evaluator of the bundle ``lung_nodule_cad``: reads a scan, runs the chain on it, writes the results."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lungcad.atomic import check_output, check_replaceable, remove_left_overs
from lungcad.chain.chain import Chain
from lungcad.console import StageClock, findings_table, header_lines
from lungcad.options import options_by_name, text_or_none
from lungcad.reading.volume_file import read_volume
from lungcad.results.write import MARK, RESULT_FILES, result_folder, write, writers_for
from lungcad.scan.scan import Scan


class NoduleCAD:
    """One run of a chain on one CT series, told on the terminal.

    Args:
        chain: finds the nodules.
        dataset_dir: DICOM folder, .mhd, .nii.gz or .nrrd.
        output_dir: gets a folder named after the series.
        series_uid: SeriesInstanceUID, where there are several series.
        leniency: see :func:`lungcad.dicom.read_series`.
        dicom_results: write DICOM objects too, where the input is DICOM (:func:`lungcad.results.write.writers_for`).

    Raises:
        InputError: E-CONFIG, ``dicom_results`` is another word.
    """

    def __init__(self, chain: Chain, dataset_dir: str, output_dir: str, series_uid: str | None = None,
                 leniency: Mapping[str, Any] | None = None, dicom_results: bool | str = False):  # fmt: skip
        self.chain, self.dataset_dir, self.output_dir = chain, dataset_dir, output_dir
        self.series_uid, self.leniency = text_or_none("series_uid", series_uid), options_by_name("leniency", leniency)
        self.writers = writers_for(dicom_results)

    def run(self) -> Path:
        """Read, find, write.

        Returns:
            The folder with the results.

        Raises:
            InputError: what loading, reading, the stages and writing refuse.
        """
        clock, chain = StageClock(), self.chain
        check_output(self.output_dir)
        remove_left_overs(self.output_dir, RESULT_FILES)
        with clock("load") as line:
            line.note = f"{len(chain.stages)} bundles"
        thresholds = chain.thresholds
        with clock("read") as line:
            volume = read_volume(self.dataset_dir, series_uid=self.series_uid, **self.leniency)
            line.note = f"{volume.hu.shape[2]} slices"
        check_replaceable(result_folder(self.output_dir, volume), ours=MARK)
        scan = Scan(volume)
        with clock("lungs") as line:
            line.note = f"{scan.lungs.volume_ml:.0f} ml"
        print(header_lines(volume, bundles=chain.versions, device=str(chain.device), output=str(self.output_dir)),
              file=sys.stderr)  # fmt: skip
        for warning in scan.warnings:
            print(f"{'warning':<14}{warning}", file=sys.stderr)
        result = chain.result(scan, chain.find(scan, clock), thresholds, clock.seconds)
        with clock("report"):
            folder = write(result, self.output_dir, self.writers)
        print(findings_table(result.reported, result.summary))
        print(f"report: {folder / 'report.html'}")
        return folder
