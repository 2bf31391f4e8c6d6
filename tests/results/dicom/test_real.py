# SPDX-License-Identifier: Apache-2.0
"""DICOM results on real series, with balls where LUNA16 has its nodules; witnesses are dciodvfy and dcmqi."""

import csv
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_results_case import Written, ball_mask, by_dcmqi, numbers, same_points, segment_points, write

from lungcad import Finding
from lungcad.results.dicom import REPORT_FILE, SEGMENTATION_FILE

pytestmark = [pytest.mark.shared_data, pytest.mark.slow]


@pytest.fixture(scope="module", params=["LIDC-IDRI-0001", "LIDC-IDRI-0314"])
def written(request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    with (shared / "data" / "ct" / "findings.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if request.param in row.values()]
    nodules = [row for row in rows if row["source"] == "luna16_nodule"]
    findings, masks = [], {}
    for row in nodules:
        x, y, z, diameter = (float(row[name]) for name in ("x_mm", "y_mm", "z_mm", "diameter_mm"))
        masks[x, y, z] = ball_mask((x, y, z), [diameter / 2] * 3, np.eye(4), size=int(diameter) + 4)
        findings.append(Finding((x, y, z), diameter, 0.9, 0.987654, 0.123456, None, masks[x, y, z].volume_mm3))
    assert findings
    return write(shared / "data" / "ct" / request.param, tmp_path_factory.mktemp("real"), findings, masks)


def test_objects_agree_with_nodules_json(written: Written) -> None:
    assert written.notes == [] and written.files == {REPORT_FILE, SEGMENTATION_FILE}
    for entry in written.document["findings"]:
        told = numbers(written.nodule(entry["id"]))
        assert told["Volume"] == (round(entry["volume_mm3"]), "mm3")
        assert told["Long axis"][0] == pytest.approx(entry["diameter_mm"], abs=1.5)
        assert told["Short axis"][0] == pytest.approx(entry["diameter_mm"], abs=1.5)
        item = written.region(entry["id"]).ContentSequence[0].ReferencedSOPSequence[0]
        assert item.ReferencedSOPInstanceUID == entry["slice"]["sop_instance_uid"]
        points = segment_points(written.folder / SEGMENTATION_FILE, entry["id"])
        assert points.mean(axis=0) == pytest.approx(entry["center_lps_mm"], abs=0.3)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy (dicom3tools)")
@pytest.mark.parametrize("file", [REPORT_FILE, SEGMENTATION_FILE])
def test_dciodvfy_finds_no_error(written: Written, file: str) -> None:
    command = ["dciodvfy", "-new", str(written.folder / file)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Error" not in said.stdout + said.stderr


@pytest.mark.skipif(shutil.which("tid1500reader") is None, reason="needs dcmqi")
def test_dcmqi_agrees(written: Written, tmp_path: Path) -> None:
    first = by_dcmqi(written, tmp_path)["Measurements"][1]  # after the circle
    values = {one["quantity"]["CodeMeaning"]: float(one["value"]) for one in first["measurementItems"]}
    assert values == pytest.approx({name: value for name, (value, _) in numbers(written.nodule(1)).items()})
    assert first["segmentationSOPInstanceUID"] == written.segmentation.SOPInstanceUID
    command = ["segimage2itkimage", "--inputDICOM", str(written.folder / SEGMENTATION_FILE), "--outputDirectory",
               str(tmp_path), "--outputType", "nrrd"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    image = sitk.ReadImage(str(tmp_path / "1.nrrd"))
    index = np.argwhere(sitk.GetArrayViewFromImage(image) == 1)[:, ::-1]
    points = np.array([image.TransformIndexToPhysicalPoint(one.tolist()) for one in index])
    assert same_points(segment_points(written.folder / SEGMENTATION_FILE, 1), points)
