# SPDX-License-Identifier: Apache-2.0
"""Transforms for MONAI that read candidates from a file and write the results of a bundle that runs on its own."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from monai.transforms import MapTransform, Transform

from lungcad.atomic import check_output, remove_left_overs
from lungcad.options import check_operating_point, thresholds_by_name
from lungcad.results.result import Result
from lungcad.results.write import RESULT_FILES, write, writers_for


class LoadCandidatesd(MapTransform):
    """Transform that reads ``findings`` of the scan's series from the path of a nodules.json or .csv."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Set ``findings`` of the case; raises InputError E-CANDIDATES if the file is refused."""
        from lungcad.results.candidates import read_findings

        d = dict(data)
        volume = d["scan"].volume
        for key in self.keys:
            d["findings"] = read_findings(Path(d[key]), volume.series_uid, volume.public_uid)
        return d


class WriteFindingsd(Transform):
    """Transform that writes the ``findings`` of a bundle that runs on its own; see :func:`lungcad.results.write.write`.

    Args:
        output_dir: folder in which a folder named after the series is made.
        meta: metadata of the bundle.
        operating_point: name of the threshold in use.
        thresholds: lowest reported probability by name.
        device: device of the network.
        dicom_results: whether to write DICOM objects too, where the input is DICOM, see
            :func:`lungcad.results.write.writers_for`.

    Raises:
        InputError: E-OUTPUT, nothing can be written there; E-CONFIG, ``dicom_results`` is another word, or there is no
            such operating point.
    """

    def __init__(self, output_dir: str, meta: Mapping[str, Any], operating_point: str, thresholds: Mapping[str, float],
                 device: torch.device, dicom_results: bool | str = False):  # fmt: skip
        check_operating_point(operating_point, thresholds_by_name("thresholds", thresholds))
        check_output(output_dir)
        self.output_dir, self.meta, self.device = output_dir, meta, str(device)
        self.operating_point, self.thresholds = operating_point, dict(thresholds)
        self.writers = writers_for(dicom_results)

    def __call__(self, data: dict[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the results and return the case unchanged; raises InputError E-OUTPUT."""
        scan, name = data["scan"], self.meta["name"]
        remove_left_overs(self.output_dir, RESULT_FILES)
        volume = replace(scan.volume, warnings=list(scan.warnings))
        write(Result(
            volume, data["findings"], self.thresholds, self.operating_point, {name: self.meta["version"]}, self.device,
            weights_sha256={name: self.meta["weights_sha256"]}, lungs=vars(scan).get("lungs"),
        ), self.output_dir, self.writers)  # fmt: skip
        return data
