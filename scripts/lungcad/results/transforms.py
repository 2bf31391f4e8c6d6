# SPDX-License-Identifier: Apache-2.0
"""MONAI transforms that read candidates from a file and write the results of a bundle that runs on its own."""
from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from monai.transforms import MapTransform, Transform

from lungcad.options import check_operating_point, switch


class LoadCandidatesd(MapTransform):
    """Read ``findings`` of the scan's series from the path of a nodules.json or .csv."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """See the class."""
        from lungcad.results.candidates import read_findings

        d = dict(data)
        for key in self.keys:
            d["findings"] = read_findings(Path(d[key]), d["scan"].volume.series_uid)
        return d


class WriteFindingsd(Transform):
    """Write the result files of a bundle that runs on its own; see :func:`lungcad.results.documents.write_results`.

    Args:
        output_dir: receives a folder named after the series.
        meta: the bundle's metadata.
        operating_point: name of the threshold in use.
        thresholds: by name.
        device: where the network ran.
        inputs: what was read.
        dicom_results: write DICOM objects too, where the input is DICOM (:mod:`lungcad.results.dicom`).

    Raises:
        InputError: E-CONFIG, ``dicom_results`` is neither true nor false, or there is no such operating point.
    """

    def __init__(self, output_dir: str, meta: Mapping[str, Any], operating_point: str, thresholds: Mapping[str, float],
                 device: torch.device, inputs: str, dicom_results: bool | str = False):  # fmt: skip
        check_operating_point(operating_point, thresholds)
        name = meta["name"]
        self.arguments: dict[str, Any] = {
            "thresholds": dict(thresholds), "operating_point": operating_point, "bundles": {name: meta["version"]},
            "weights_sha256": {name: meta["weights_sha256"]}, "device": str(device), "inputs": inputs, "timings": {},
        }  # fmt: skip
        self.output_dir, self.dicom_results = output_dir, switch("dicom_results", dicom_results)

    def __call__(self, data: dict[Hashable, Any]) -> dict[Hashable, Any]:
        """Write, and hand the case on."""
        from lungcad.results.dicom import DicomWriter
        from lungcad.results.documents import write_results

        scan = data["scan"]
        volume = replace(scan.volume, warnings=list(scan.warnings))
        dicom = DicomWriter(volume, self.arguments["inputs"], scan.masks, wanted=self.dicom_results)
        write_results(self.output_dir, volume, data["findings"], **self.arguments, also=[dicom])
        dicom.tell()
        return data
