# SPDX-License-Identifier: Apache-2.0
"""Sizes of both scans are measured alike, and a change of outlines alone is no growth."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from made_pair import LUNG_HU, NODULE_HU, sphere
from scipy.ndimage import find_objects

from lungcad import Finding, Volume
from lungcad.finding import FindingMask
from lungcad.followup.exam import Exam
from lungcad.followup.growth import change_between, judge
from lungcad.followup.mass import mass_change_percent
from lungcad.followup.sides import Side, measured_sides
from lungcad.results.result import Result
from lungcad.scan.scan import Scan

CENTER = np.array([20.0, 20.0, 20.0])


def ball(diameter: float, center: np.ndarray = CENTER) -> np.ndarray:
    """Mask (41, 41, 41) of a ball on voxels of 1 mm."""
    distance = np.linalg.norm(np.indices((41, 41, 41)).T - center, axis=-1).T
    return distance <= diameter / 2


def scan_of(nodule: np.ndarray, seed: int) -> Scan:
    noise = np.random.default_rng(seed).normal(0, 15, nodule.shape)
    return Scan(Volume(np.where(nodule, NODULE_HU, LUNG_HU) + noise, np.eye(4), f"1.2.{seed}"))


def outlined(mask: np.ndarray) -> Finding:
    box = find_objects(mask.astype(np.uint8))[0]
    affine = np.eye(4)
    affine[:3, 3] = [side.start for side in box]
    diameter = float(np.cbrt(6 / np.pi * mask.sum()))
    return Finding((20.0, 20.0, 20.0), diameter, mask=FindingMask(mask[box], affine), measurement=sphere(diameter))


@pytest.mark.parametrize(("diameter", "percent"), [(8.0, 0.0), (8.0 * 1.6 ** (1 / 3), 60.0), (6.35, -50.0)])
def test_mass_changes_as_the_volume_of_the_nodule(diameter: float, percent: float) -> None:
    before, now = ball(8.0), ball(diameter)
    true = 100 * (now.sum() / before.sum() - 1)
    found = mass_change_percent(scan_of(before, 0), outlined(before), scan_of(now, 1), outlined(now))
    assert true == pytest.approx(percent, abs=15) and found == pytest.approx(true, abs=5)


def test_mass_does_not_depend_on_the_outlines() -> None:
    nodule, wide = ball(8.0), ball(11.0)
    scans = scan_of(nodule, 0), scan_of(nodule, 1)
    assert mass_change_percent(scans[0], outlined(nodule), scans[1], outlined(wide)) == pytest.approx(0, abs=5)
    apart = ball(8.0, CENTER + np.array([2.0, 0.0, 0.0]))  # beside its nodule: the images lay the scans on each other
    assert mass_change_percent(scans[0], outlined(nodule), scans[1], outlined(apart)) == pytest.approx(0, abs=12)
    assert mass_change_percent(scans[0], replace(outlined(nodule), mask=None), scans[1], outlined(wide)) is None


@pytest.mark.parametrize(("mass", "status"), [(None, "growing"), (60.0, "growing"), (30.0, "growing"),
                                              (20.0, "not comparable"), (-10.0, "not comparable")])  # fmt: skip
def test_growth_needs_a_part_of_it_in_mass(mass: float | None, status: str) -> None:
    prior, current = sphere(10.0), sphere(10.0 * 1.6 ** (1 / 3))  # 0.4 times ln 1.6 is ln 1.207
    found, reason = judge(prior, current, change_between(prior, current, 365, mass_percent=mass))
    assert found == status and ("outlines differ" in reason) == (status == "not comparable")


def test_a_change_that_would_not_count_needs_no_mass() -> None:
    prior, current = sphere(10.0), sphere(10.2)
    assert judge(prior, current, change_between(prior, current, 365, mass_percent=-50.0))[0] == "stable"


def test_both_scans_are_measured_around_their_outline_and_at_one_size() -> None:
    asked: list[Finding] = []

    def measure(scan: Scan, findings: Sequence[Finding]) -> list[Finding]:
        """Outline that is half a millimetre smaller for each millimetre that its centre is off."""
        asked.extend(findings)
        done = []
        for one in findings:
            off = float(np.linalg.norm(np.array(one.center_lps_mm) - CENTER))
            doubts = ("off",) if off > 1 else ()
            diameter = 8.0 - off / 2
            done.append(replace(one, mask=FindingMask(ball(8.0), np.eye(4)),
                                measurement=replace(sphere(diameter), doubts=doubts)))  # fmt: skip
        return done

    exams = [Exam(scan_of(ball(8.0), n), Result(scan_of(ball(8.0), n).volume, [], {"balanced": 0.5}, "balanced"))
             for n in (0, 1)]  # fmt: skip
    findings = Finding((22.0, 20.0, 20.0), 6.0), Finding((20.0, 20.0, 20.5), 9.0)
    ((before, now),) = measured_sides(
        *exams, [(Side(findings[0], 1, False, (22.0, 20.0, 20.0)), Side(findings[1], 1, False, (20.0, 20.0, 20.5)))],
        measure,
    )  # fmt: skip
    assert [one.center_lps_mm for one in asked[2:]] == [(20.0, 20.0, 20.0)] * 2
    assert [one.diameter_mm for one in asked] == [6.0, 9.0, 7.75, 7.75]
    sizes = [side.finding.measurement.mean_diameter_mm for side in (before, now)]
    assert sizes == [8.0, 8.0] and before.finding.measurement.doubts == ("off",)
    assert (before.finding.center_lps_mm, before.finding.diameter_mm) == ((22.0, 20.0, 20.0), 6.0)


def test_without_a_program_that_measures_nothing_changes() -> None:
    exam = Exam(scan_of(ball(8.0), 0), Result(scan_of(ball(8.0), 0).volume, [], {"balanced": 0.5}, "balanced"))
    side = Side(Finding((20.0, 20.0, 20.0), 8.0, measurement=sphere(8.0)), 1, False, (20.0, 20.0, 20.0))
    assert measured_sides(exam, exam, [(side, side)], None) == [(side, side)]
    assert measured_sides(exam, exam, [], None) == []
