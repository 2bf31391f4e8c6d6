# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ignite.engine import Engine

from lungcad.chain.results_table import results_markdown
from lungcad.finding import Finding, FindingMask
from lungcad.geometry import affine_of, scaled_affine, to_world
from lungcad.papers.jnsc.scoring import JNSCScorer, dice, jnsc_figures, nodule_rows, read_rows
from lungcad.scores.predictions import score_predictions
from lungcad.training.cases import Case, Sphere


def cube_case(name: str = "c") -> Case:
    """Two nodules of 6 x 6 x 6 voxels of 1 x 1 x 2 mm, and one that nobody outlined."""
    masks = np.zeros((40, 40, 30), np.uint8)
    masks[4:10, 4:10, 4:10], masks[20:26, 20:26, 20:26] = 1, 2
    nodules = [Sphere(np.array([6.5, 6.5, 6.5]), 9.0, "LIDC-IDRI-0001_R_1", (4.0, 5.0)),
               Sphere(np.array([22.5, 22.5, 22.5]), 9.0, "LIDC-IDRI-0002_R_1", (1.0, 2.0, 2.0)),
               Sphere(np.array([34.0, 34.0, 4.0]), 9.0, "LIDC-IDRI-0003_R_1", (3.0,))]  # fmt: skip
    return Case(
        name, np.zeros(masks.shape, np.int16), np.ones(masks.shape, bool), (1.0, 1.0, 2.0), nodules, masks=masks
    )


def found(case: Case, first: tuple[int, int, int], size: tuple[int, int, int],
          **known: float) -> tuple[Finding, FindingMask]:  # fmt: skip
    """A finding that is a box, on a grid that begins eight voxels before the case."""
    grid = scaled_affine(case.to_mm, (-8, -8, -8), (1, 1, 1))
    mask = FindingMask(np.ones(size, bool), scaled_affine(grid, [8 + f for f in first], (1, 1, 1)))
    x, y, z = (np.array(first) + (np.array(size) - 1) / 2) * case.spacing_mm
    return Finding((float(x), float(y), float(z)), 10.0, 0.9, volume_mm3=mask.volume_mm3, **known), mask


def test_dice_is_that_of_shifted_boxes() -> None:
    case = cube_case()
    _, mask = found(case, (4, 4, 4), (6, 6, 6))
    assert dice(case.masks == 1, mask, case.to_mm) == 1
    _, half = found(case, (7, 4, 4), (6, 6, 6))
    assert dice(case.masks == 1, half, case.to_mm) == pytest.approx(0.5)  # half of each
    _, none = found(case, (36, 36, 26), (6, 6, 6))  # reaches beyond the case
    assert dice(case.masks == 1, none, case.to_mm) == 0


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (0.7, 0.7, 1.25), (1.0, 1.0, 2.0)])
def test_dice_of_a_mask_on_another_grid_is_that_of_the_shapes(spacing: tuple[float, float, float]) -> None:
    case = cube_case()
    shape = np.ceil(np.array((6, 6, 12)) / spacing).astype(int)  # of the box of the first nodule in mm, or a bit more
    corner = to_world(case.to_mm, (3.5, 3.5, 3.5))
    affine = affine_of(np.diag(spacing), corner + np.array(spacing) / 2)
    mask = FindingMask(np.ones(shape, bool), affine)
    assert dice(case.masks == 1, mask, case.to_mm) == 1
    mask.mask[shape[0] // 2 :] = False
    half = dice(case.masks == 1, mask, case.to_mm)
    assert half == pytest.approx(2 / 3, abs=0.04)  # 2 x 0.5 / 1.5, but for half voxels at the edge


def test_each_outlined_nodule_has_a_row_with_its_best_finding() -> None:
    case = cube_case()
    best, mask = found(case, (4, 4, 4), (6, 6, 3), nodule_probability=0.8, malignancy_probability=0.7)
    worse, _ = found(case, (4, 4, 5), (6, 6, 3), nodule_probability=0.6, malignancy_probability=0.1)
    first, second = nodule_rows(case, [worse, replace(best, mask=mask)])
    assert (first["found"], first["dice"]) == (1, pytest.approx(2 / 3))  # 108 of 216 voxels
    assert (first["volume_mm3"], first["true_volume_mm3"]) == (216, 432)
    assert first["true_diameter_mm"] == pytest.approx(np.cbrt(6 * 432 / np.pi))
    assert (first["malignancy_probability"], first["median_malignancy"], first["n_readers"]) == (0.7, 4.5, 2)
    assert (second["found"], second["dice"], second["volume_mm3"], second["median_malignancy"]) == (0, 0.0, None, 2.0)
    assert nodule_rows(case, [])[0]["found"] == 0


def row(patient: int, found: int, dice: float, median: float | None, probability: float | None,
        volume: float = 110.0) -> dict:  # fmt: skip
    return {
        "case": "c", "nodule": f"LIDC-IDRI-{patient:04d}_R_1", "found": found, "dice": dice, "true_volume_mm3": 100.0,
        "volume_mm3": volume if found else None, "diameter_mm": 6.0 if found else None, "true_diameter_mm": 5.0,
        "n_readers": 3, "median_malignancy": median, "malignancy_probability": probability,
    }  # fmt: skip


ROWS = [row(1, 1, 0.8, 4.5, 0.9), row(2, 1, 0.6, 1.0, 0.6, 80.0), row(3, 0, 0.0, 2.0, None), row(4, 1, 0.7, 3.0, 0.99),
        row(5, 0, 0.0, 5.0, None), row(6, 1, 0.9, 2.0, 0.2)]  # fmt: skip


def test_figures_by_hand() -> None:
    figures = jnsc_figures(ROWS)
    assert (figures["nodules"], figures["found"]) == (6, 4)
    assert figures["mean_dice"] == pytest.approx(0.75)
    assert figures["mean_dice_with_missed"] == pytest.approx(0.5)
    assert figures["mean_dice_ci"][0] < 0.75 < figures["mean_dice_ci"][1]
    assert figures["mean_volume_error_percent"] == pytest.approx((10 + 20 + 10 + 10) / 4)
    assert figures["mean_diameter_error_mm"] == pytest.approx(1.0)
    assert figures["median_signed_volume_error_percent"] == pytest.approx(10.0)  # 10, -20, 10 and 10 %
    assert figures["mean_signed_volume_error_percent"] == pytest.approx(2.5)
    of_found, everything = figures["malignancy_of_found"], figures["malignancy_undetected_benign"]
    assert (of_found["nodules"], of_found["sensitivity"], of_found["specificity"]) == (3, 1.0, 0.5)
    # the undetected ones count as benign: one of two malignant is lost, two of three benign are right
    assert everything["nodules"] == 5
    assert everything["balanced_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert everything["auc"] == pytest.approx((3 + 0.5) / 6)  # 0.9 beats all three, 0 ties with one


def test_malignancy_is_told_as_score_malignancy_reads_it(tmp_path: Path) -> None:
    case = cube_case()
    findings, masks = zip(
        found(case, (4, 4, 4), (6, 6, 6), malignancy_probability=0.7),
        found(case, (20, 20, 20), (6, 6, 6), malignancy_probability=0.6),
        strict=True,
    )
    scorer = JNSCScorer(str(tmp_path), "a test")
    scorer.start()
    own = dict(zip([finding.center_lps_mm for finding in findings], masks, strict=True))
    scorer.add({"case": case, "findings": list(findings), "masks": own}, {})
    scorer.write()
    figures = score_predictions(tmp_path / "malignancy.csv", bootstraps=20)
    of_found = json.loads((tmp_path / "joint.json").read_text())["malignancy_of_found"]
    assert (figures["nodules"], figures["benign"], figures["auc"], figures["balanced_accuracy"]) == (2, 1, 1.0, 0.5)
    assert all(figures[key] == of_found[key] for key in ("nodules", "patients", "auc", "balanced_accuracy"))


def test_what_is_not_known_is_none() -> None:
    figures = jnsc_figures([row(1, 1, 0.8, 4.5, None), row(2, 0, 0.0, 1.0, None)])
    assert figures["malignancy_of_found"] is None
    assert figures["malignancy_undetected_benign"] is None
    assert jnsc_figures([])["mean_dice"] is None


def test_a_scored_folder_holds_rows_that_are_read_back(tmp_path: Path) -> None:
    case = cube_case()
    finding, mask = found(case, (4, 4, 4), (6, 6, 6), nodule_probability=0.8, malignancy_probability=0.7)
    scorer = JNSCScorer(str(tmp_path), "a test")
    engine = Engine(lambda engine, batch: None)
    scorer.attach(engine)
    engine.run([{"case": case, "findings": [replace(finding, mask=mask)]}])
    figures = json.loads((tmp_path / "joint.json").read_text())
    assert (figures["data"], figures["nodules"], figures["found"], figures["mean_dice"]) == ("a test", 2, 1, 1.0)
    assert json.loads((tmp_path / "metrics.json").read_text())["nodules"] == 3
    text = results_markdown({"joint_test": [tmp_path], "without": [tmp_path]})
    assert "| joint test | 2 | 1 | 1.000 (1.000 to 1.000) | 0 % (0 to 0) |" in text
    assert text.startswith("| scored | scans |")  # the detection's table
    rows = read_rows([tmp_path, tmp_path])
    assert len(rows) == 4
    assert rows[0] == nodule_rows(case, [replace(finding, mask=mask)])[0]
    assert rows[1]["volume_mm3"] is None
