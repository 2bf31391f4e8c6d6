# SPDX-License-Identifier: Apache-2.0
"""Stage "measure" of the chain, with a network that takes soft tissue for nodule."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dicom_results_case import ball_mask
from small_cases import CPU, NODULE_VOX

from lungcad.chain.chain import Chain
from lungcad.chain.stage import BundleStage
from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.geometry import to_world
from lungcad.measure import measure_at
from lungcad.scan.scan import Scan

MEASURE = "lung_nodule_segmentation_unet"
ELLIPSOID_MM3 = 4 / 3 * np.pi * 6.6 * 6.6 * 6.8
"""Volume of the small chest's nodule before it is drawn in voxels of 36 mm3."""


class SoftTissue(torch.nn.Module):
    """Log odds of nodule from intensity: above 0 from -400 HU up."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 40 * (image - 600 / 1400)


@pytest.fixture
def stage(bundles: Path) -> BundleStage:
    made = BundleStage(bundles / MEASURE, CPU, {"least_probability": 0.5, "precision": "float32"})
    made.network = SoftTissue()
    return made


def nodule(scan: Scan, probability: float | None = 0.9, diameter: float | None = 12.0) -> Finding:
    x, y, z = to_world(scan.volume.affine, NODULE_VOX).tolist()
    return Finding((x + 1, y - 1, z), diameter, 0.9, probability)


def test_a_finding_gets_mask_measurement_and_location(stage: BundleStage, scan: Scan) -> None:
    (found,) = stage(scan, [replace(nodule(scan), malignancy_probability=0.3)])
    measured = found.measurement
    assert measured is not None and found.mask is not None and found.location is not None
    assert found.volume_mm3 == measured.volume_mm3 == pytest.approx(found.mask.volume_mm3)
    assert measured.volume_mm3 == pytest.approx(ELLIPSOID_MM3, rel=0.25)
    assert measured.mean_diameter_mm == pytest.approx(13.2, abs=2.0)  # voxels of 3 mm
    assert (measured.method, measured.kind) == (f"{MEASURE} {stage.version}", "solid")
    assert (found.location.side, found.location.zone, found.location.juxtapleural) == ("right", "middle", False)
    assert "4.0 mm apart" in measured.doubts[0]
    assert (found.malignancy_probability, found.diameter_mm) == (0.3, 12.0)  # other stages' values stay


def test_only_probable_findings_are_measured_and_another_stages_mask_stays(stage: BundleStage, scan: Scan) -> None:
    mask = ball_mask((0.0, 0.0, 0.0), (3, 3, 3), np.eye(4))
    doubtful = replace(nodule(scan, 0.4), mask=mask, volume_mm3=100.0)
    elsewhere = Finding((-54.0, -6.0, -270.0), 8.0, 0.9, 0.9, mask=mask)  # clear lung
    first, second, third = stage(scan, [doubtful, nodule(scan), elsewhere])
    assert (first, third) == (doubtful, elsewhere) and first.mask is third.mask is mask
    assert second.measurement is not None
    assert stage(scan, []) == []


def test_any_place_of_a_scan_can_be_measured(stage: BundleStage, scan: Scan) -> None:
    known = measure_at(scan, nodule(scan).center_lps_mm, stage)  # without a diameter
    assert known.measurement is not None and known.location is not None
    assert known.measurement.volume_mm3 == pytest.approx(ELLIPSOID_MM3, rel=0.25)
    assert measure_at(scan, (-54.0, -6.0, -270.0), stage).measurement is None


def test_the_chain_measures_last_from_the_sensitive_threshold_up(bundles: Path) -> None:
    asked: dict[str, Mapping[str, Any]] = {}

    class Stub:
        def __init__(self, name: str):
            self.name, self.thresholds = name, {"sensitive": 0.2, "balanced": 0.6}

        def __call__(self, scan: Scan, findings: Sequence[Finding]) -> list[Finding]:
            return [*findings, Finding((0.0, 0.0, float(len(findings))))]

    def load(root: Path, device: torch.device, overrides: Mapping[str, Any], stage: str) -> Any:
        asked[stage] = overrides
        return Stub(stage)

    chain = Chain("dou2017", None, "mtmrnet", CPU, bundles_dir=bundles, load_stage=load)
    assert list(chain.stages) == ["detect", "characterise", "measure"]
    assert asked["measure"] == asked["characterise"] == {"least_probability": 0.2}
    assert "measure" not in Chain("dou2017", None, None, CPU, measurer="none", bundles_dir=bundles).bundles
    with pytest.raises(InputError, match="no bundle mtmrnet for the stage measure"):
        Chain("dou2017", measurer="mtmrnet", bundles_dir=bundles, device=CPU)
