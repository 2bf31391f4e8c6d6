# SPDX-License-Identifier: Apache-2.0
"""Evaluator of the bundle ``lung_nodule_cad``: reads a scan, runs the chain on it, writes the results."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lungcad.atomic import check_output, check_replaceable, remove_left_overs
from lungcad.chain.chain import Chain
from lungcad.console import StageClock, findings_table, header_lines
from lungcad.dicom.lost import folder_state, warn_of_changes
from lungcad.options import options_by_name, text_or_none
from lungcad.reading.ahead import ScanAhead, take_begun
from lungcad.reading.volume_file import read_volume
from lungcad.results.result import check_indication
from lungcad.results.write import MARK, RESULT_FILES, result_folder, write, writers_for
from lungcad.scan.scan import Scan


class NoduleCAD:
    """Run of a chain on one CT series, with its progress on the terminal.

    Args:
        chain: chain of bundles that finds the nodules.
        dataset_dir: DICOM folder, .mhd, .nii.gz or .nrrd.
        output_dir: folder in which a folder named after the series is made.
        series_uid: SeriesInstanceUID, where there are several series.
        acquisition: label of one acquisition, where the series holds several.
        leniency: options of :func:`lungcad.dicom.read_series`.
        dicom_results: write DICOM objects too, where the input is DICOM (:func:`lungcad.results.write.writers_for`).
        indication: ``screening`` or ``incidental``, which chooses the guideline that is printed; None: not known.

    Raises:
        InputError: E-CONFIG, ``dicom_results`` or ``indication`` is another word.
    """

    def __init__(self, chain: Chain, dataset_dir: str, output_dir: str, series_uid: str | None = None,
                 acquisition: Any = None, leniency: Mapping[str, Any] | None = None,
                 dicom_results: bool | str = False, indication: str | None = None):  # fmt: skip
        check_indication(indication)
        self.indication = indication
        self.chain, self.dataset_dir, self.output_dir = chain, dataset_dir, output_dir
        self.series_uid = text_or_none("series_uid", series_uid)
        self.acquisition = None if acquisition is None else str(acquisition)
        self.leniency = options_by_name("leniency", leniency)
        self.writers = writers_for(dicom_results)

    def run(self) -> Path:
        """Load the chain, read the scan, find nodules, write the results.

        Returns:
            Folder with the results.

        Raises:
            InputError: whatever loading, reading, the stages and writing refuse.
        """
        clock, chain = StageClock(), self.chain
        ahead = take_begun(self.dataset_dir, self.series_uid, self.acquisition, self.leniency)
        check_output(self.output_dir)
        remove_left_overs(self.output_dir, RESULT_FILES)
        with clock("load") as line:
            line.note = f"{len(chain.stages)} bundles"
        thresholds = chain.thresholds
        before = ahead.before if ahead else folder_state(self.dataset_dir)
        scan = self._scan_ahead(ahead, clock) if ahead else self._scan(clock)
        volume = scan.volume
        print(header_lines(volume, bundles=chain.versions, device=str(chain.device), output=str(self.output_dir)),
              file=sys.stderr)  # fmt: skip
        for warning in scan.warnings:
            print(f"{'warning':<14}{warning}", file=sys.stderr)
        findings = chain.find(scan, clock)
        warn_of_changes(volume, before, self.dataset_dir)
        result = replace(chain.result(scan, findings, thresholds, clock.seconds), indication=self.indication)
        with clock("report"):
            folder = write(result, self.output_dir, self.writers)
        print(findings_table(result.reported, result.summary))
        print(f"report: {folder / 'report.html'}")
        return folder

    def _scan(self, clock: StageClock) -> Scan:
        """Read the scan and find its lungs."""
        with clock("read") as line:
            volume = read_volume(self.dataset_dir, self.series_uid, self.acquisition, **self.leniency)
            line.note = f"{volume.hu.shape[2]} slices"
        check_replaceable(result_folder(self.output_dir, volume), mark=MARK)
        scan = Scan(volume)
        with clock("lungs") as line:
            line.note = f"{scan.lungs.volume_ml:.0f} ml"
        return scan

    def _scan_ahead(self, ahead: ScanAhead, clock: StageClock) -> Scan:
        """Scan that was read while the chain was loaded; its seconds are the child's, not those waited."""
        volume, lungs = ahead.result()
        check_replaceable(result_folder(self.output_dir, volume), mark=MARK)
        scan = Scan(volume)
        scan.lungs = lungs
        clock.add("read", ahead.seconds["read"], f"{volume.hu.shape[2]} slices")
        clock.add("lungs", ahead.seconds["lungs"], f"{lungs.volume_ml:.0f} ml")
        return scan
