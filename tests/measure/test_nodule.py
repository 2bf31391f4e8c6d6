# SPDX-License-Identifier: Apache-2.0
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from measured_ball import affine, ball

from lungcad.finding import Finding
from lungcad.measure import measure_at, measure_findings
from lungcad.measure.mask import NoduleMask, central_mask
from lungcad.measure.nodule import measure_nodule
from lungcad.measurement import Location
from lungcad.scan.scan import Scan
from lungcad.volume import Volume

NATIVE = np.array([0.7, 0.7, 1.0])


def nodule(radius_mm: float) -> NoduleMask:
    found = central_mask(ball(radius_mm), np.full((40,) * 3, 50.0), affine(), 0.5)
    assert found is not None
    return found


def test_measures_of_a_ball() -> None:
    measured = measure_nodule(nodule(5.0), "net 1", NATIVE, 10.0)
    volume = 4 / 3 * np.pi * 5**3
    assert measured.volume_mm3 == pytest.approx(volume, rel=0.03)
    assert measured.effective_diameter_mm == pytest.approx(10, abs=0.1)
    for length in (measured.long_axis_mm, measured.short_axis_mm, measured.mean_diameter_mm):
        assert length == pytest.approx(10, abs=0.4)
    assert measured.mass_mg == pytest.approx(measured.volume_mm3 * 1.05, rel=1e-6)
    assert (measured.method, measured.mean_hu, measured.kind, measured.doubts) == ("net 1", 50.0, "solid", ())
    assert measured.long_axis_lps_mm is not None
    start, end = np.array(measured.long_axis_lps_mm)
    assert np.linalg.norm(end - start) == pytest.approx(measured.long_axis_mm)
    assert (start + end) / 2 == pytest.approx([10, 20, 30], abs=0.4)


def test_doubts_are_told() -> None:
    assert "far from the detector's" in measure_nodule(nodule(5.0), "net 1", NATIVE, 25.0).doubts[0]
    small = measure_nodule(nodule(1.2), "net 1", NATIVE)
    assert "only 1" in small.doubts[0]  # some 7 mm3 in voxels of 0.49 mm3
    thick = measure_nodule(nodule(5.0), "net 1", np.array([0.7, 0.7, 5.0]), 10.0)
    assert "5.0 mm apart" in thick.doubts[0]
    assert measure_nodule(nodule(5.0), "net 1", np.array([0.7, 0.7, 2.50000004]), 10.0).doubts == ()
    touching = measure_nodule(nodule(5.0), "net 1", NATIVE, 10.0, Location(juxtapleural=True))
    assert "pleura" in touching.doubts[0]
    halo = measure_nodule(replace(nodule(5.0), rim_hu=101.0), "net 1", NATIVE, 10.0)
    assert "ground glass may be left out" in halo.doubts[0]
    assert "edge" in measure_nodule(replace(nodule(5.0), cut=True), "net 1", NATIVE, 10.0).doubts[0]


def test_a_tall_nodule_is_not_measured_truly_on_the_transverse_plane() -> None:
    def tall(ratio: float) -> NoduleMask:
        axis = (np.arange(40) - 19.5) * 0.7
        x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
        share = np.clip(3 * (1.2 - np.sqrt(x**2 + y**2 + (z / ratio) ** 2) / 3.0), 0, 1).astype(np.float32)
        found = central_mask(share, np.full((40,) * 3, 50.0), affine(), 0.5)
        assert found is not None
        return found

    found = measure_nodule(tall(2.5), "net 1", NATIVE)
    assert len(found.doubts) == 1 and "transverse plane" in found.doubts[0]
    assert found.effective_diameter_mm - found.mean_diameter_mm > 1
    assert measure_nodule(tall(1.4), "net 1", NATIVE).doubts == ()


def test_a_place_is_measured_whatever_its_probability() -> None:
    """The stage sees no probability, so its threshold holds nothing back; other values of a finding stay."""
    seen: list[Finding] = []

    def stage(scan: Scan, findings: Sequence[Finding]) -> list[Finding]:
        seen.extend(findings)
        made = measure_nodule(nodule(5.0), "net 1", NATIVE)
        values = {"volume_mm3": made.volume_mm3, "measurement": made, "location": Location("left")}
        return [replace(one, **values) for one in findings]

    scan = Scan(Volume(np.zeros((4, 4, 4), np.float32), np.eye(4), "1.2"))
    old = Finding((1.0, 2.0, 3.0), 9.0, 0.1, 0.01, 0.5, {"texture": 5.0}, volume_mm3=1.0)
    (new,) = measure_findings(scan, [old], stage)
    assert seen[0].score is None and seen[0].attributes == old.attributes
    assert new.measurement is not None and new.volume_mm3 == new.measurement.volume_mm3
    assert (new.nodule_probability, new.malignancy_probability, new.location) == (0.01, 0.5, Location("left"))
    nothing = measure_at(scan, np.array([1, 2, 3]), lambda scan, findings: list(findings), 6.0)
    assert (nothing.center_lps_mm, nothing.diameter_mm, nothing.measurement) == ((1.0, 2.0, 3.0), 6.0, None)
