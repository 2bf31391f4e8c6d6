# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from small_cases import CPU

import compare_chains
from lungcad.chain import compare as chain_comparison
from lungcad.chain.chain import Chain
from lungcad.chain.compare import Chains, chains_of, scan_of, score_chains
from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.geometry import to_index, to_world
from lungcad.scan.scan import Scan
from lungcad.training.cases import Case, Sphere

MALIGNANCY = ((1.0, 1.0, 2.0), (5.0, 4.0, 5.0))


def lung_case(name: str, shift: float = 0.0) -> Case:
    """Two nodules of 6 mm, a benign and a malignant one, outlined."""
    rng = np.random.default_rng(int(10 * shift))
    size = (30, 28, 26)
    nodules = [Sphere(np.array([8.0, 8.0, 8.0]), 6.0, f"{name}_0", MALIGNANCY[0]),
               Sphere(np.array([20.0, 18.0, 16.0]), 6.0, f"{name}_1", MALIGNANCY[1])]  # fmt: skip
    masks = np.zeros(size, np.uint8)
    masks[6:11, 6:11, 6:11], masks[18:23, 16:21, 14:19] = 1, 2
    affine = np.eye(4)
    affine[:3, 3] = (-40 + shift, 12, 100)
    hu = rng.integers(-900, -600, size).astype(np.int16)
    return Case(name, hu, np.ones(size, bool), (1.0, 1.0, 1.0), nodules, affine=affine, masks=masks)


class Stage:
    """Stands for a bundle: ``finds`` sees both nodules and a false one, ``misses`` but the first; a reducer doubts the
    false one; a characteriser is ``right`` or ``wrong``.
    """

    runs: ClassVar[list[str]] = []
    weights: ClassVar[str] = "a"
    thresholds: ClassVar[Mapping[str, float]] = {"sensitive": 0.25}

    def __init__(self, root: Path, device: torch.device, overrides: Mapping[str, Any], stage: str):
        self.name, self.stage, self.overrides = root.name, stage, overrides
        self.meta = {"name": root.name}
        self.fingerprint = f"{root.name} {Stage.weights} {overrides}"

    def __call__(self, scan: Scan, findings: Sequence[Finding]) -> list[Finding]:
        Stage.runs.append(self.name)
        if self.stage == "detect":
            places = [(8, 8, 8), (20, 18, 16), (3, 25, 3)][: 3 if self.name == "finds" else 1]
            return [Finding(tuple(to_world(scan.volume.affine, np.array(place, float)).tolist()), diameter_mm=6.0,
                            detection_score=0.9) for place in places]  # fmt: skip
        first = [to_index(scan.volume.affine, np.array(finding.center_lps_mm))[0] for finding in findings]
        if self.stage == "reduce":
            return [replace(f, nodule_probability=0.1 if x < 5 else 0.9) for f, x in zip(findings, first, strict=True)]
        right = self.name == "right"
        return [replace(f, malignancy_probability=float((x > 15) == right))
                for f, x in zip(findings, first, strict=True)]  # fmt: skip


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(chain_comparison, "BundleStage", Stage)
    monkeypatch.setattr("lungcad.chain.chain.stage_bundle",
                        lambda stage, name, folder: None if name in (None, "none") else Path(name))  # fmt: skip
    Stage.runs.clear()
    yield


def test_a_scan_of_a_case_has_the_cases_voxels_lungs_and_places() -> None:
    case = lung_case("a")
    grid = scan_of(case).resampled(case.spacing_mm)
    first = np.rint(to_index(grid.affine, case.to_mm[:3, 3])).astype(int)
    here = tuple(slice(f, f + n) for f, n in zip(first, case.hu.shape, strict=True))
    assert np.array_equal(grid.hu[here].numpy(), case.hu.astype(np.float32))
    assert grid.lungs[here].all() and int(grid.lungs.sum()) == case.lungs.sum()


@pytest.mark.usefixtures("fake")
def test_what_chains_share_runs_once() -> None:
    chains = chains_of(["finds", "misses"], ["none", "doubts"], ["right", "wrong"])
    assert len(chains) == 8
    results = Chains(chains, CPU)(lung_case("a"))
    assert sorted(Stage.runs) == sorted(["finds", "misses", "doubts", "doubts"] + 4 * ["right", "wrong"])
    assert [len(results[chain].findings) for chain in chains] == [3] * 4 + [1] * 4


@pytest.mark.usefixtures("fake")
def test_one_chain_does_not_change_what_another_found() -> None:
    chains = chains_of(["finds"], ["none", "doubts"], ["right", "wrong"])
    results = Chains(chains, CPU)(lung_case("a"))
    malignant = {chain: [f.malignancy_probability for f in result.findings] for chain, result in results.items()}
    assert malignant[chains[0]] == [0.0, 1.0, 0.0] and malignant[chains[1]] == [1.0, 0.0, 1.0]
    assert [f.nodule_probability for f in results[chains[0]].findings] == [None] * 3


@pytest.mark.usefixtures("fake")
def test_chains_are_scored_and_what_was_run_is_not_run_again(tmp_path: Path) -> None:
    cases = [lung_case(f"p{n}", n / 10) for n in range(3)]
    chains = chains_of(["finds", "misses"], ["none", "doubts"], ["right", "wrong"])
    figures = score_chains(Chains(chains, CPU), cases, tmp_path, "three boxes")
    assert figures["finds", "doubts", "right"]["detection"]["cpm"] == 1.0
    assert figures["finds", "none", "right"]["detection"]["cpm"] < 1.0  # the false one is as sure as the nodules
    assert figures["misses", "doubts", "right"]["detection"]["sensitivity"] == 0.5
    assert figures["finds", "doubts", "right"]["joint"]["malignancy_of_found"]["auc"] == 1.0
    assert figures["finds", "doubts", "wrong"]["joint"]["malignancy_of_found"]["auc"] == 0.0
    assert figures["misses", "doubts", "right"]["joint"]["malignancy_of_found"] is None  # one class alone
    before = len(Stage.runs)
    again = score_chains(Chains(chains, CPU), cases, tmp_path, "three boxes")
    assert len(Stage.runs) == before and again == figures
    score_chains(Chains([*chains, ("misses", "none", "none")], CPU), cases, tmp_path, "three boxes")
    assert Stage.runs[before:] == ["misses"] * len(cases)


@pytest.mark.usefixtures("fake")
def test_the_table_has_a_cell_for_each_column_and_a_dash_where_nothing_is_known(tmp_path: Path) -> None:
    chains = chains_of(["finds", "misses"], ["doubts"], ["right"])
    figures = score_chains(Chains(chains, CPU), [lung_case(f"p{n}", n / 10) for n in range(3)], tmp_path, "three boxes")
    right = compare_chains._row(chains[0], figures[chains[0]], 3.14)
    alone = compare_chains._row(chains[1], figures[chains[1]], None)
    assert {line.count("|") for line in (*compare_chains.HEADER.splitlines(), right, alone)} == {11}
    assert right.startswith("| `finds` | `doubts` | `right` | 100.0% (")
    assert "| 1.000 (1.000 to 1.000), 6 |" in right and right.endswith("| 3.1 |\n")
    assert alone.startswith("| `misses` | `doubts` | `right` | 50.0% (")
    assert alone.count("| - |") == 2 and alone.endswith("| - |\n")  # malignancy of one class alone, memory


@pytest.mark.usefixtures("fake")
def test_other_weights_are_run_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chains = chains_of(["finds"], ["none"], ["none"])
    score_chains(Chains(chains, CPU), [lung_case("a")], tmp_path, "a box")
    monkeypatch.setattr(Stage, "weights", "b")
    score_chains(Chains(chains, CPU), [lung_case("a")], tmp_path, "a box")
    assert Stage.runs == ["finds", "finds"]


@pytest.mark.usefixtures("fake")
def test_the_characteriser_is_asked_from_the_sensitive_threshold_up() -> None:
    (chain,) = Chains([("finds", "none", "right")], CPU).chains.values()
    assert list(chain.stages) == ["detect", "characterise"]
    assert chain.stages["characterise"].overrides == {"least_probability": 0.25}
    (pair,) = Chains([("3dag", "dou2017", "right")], CPU).chains.values()  # with thresholds of its own in the config
    sensitive = pair.stages["characterise"].overrides["least_probability"]
    assert sensitive == json.loads((pair.root / "configs" / "inference.json").read_text())["thresholds_of"][
        "3dag dou2017"
    ]["sensitive"] != 0.25


@pytest.mark.usefixtures("fake")
def test_a_pair_has_values_of_its_own_and_the_user_has_the_last_word() -> None:
    options: dict[str, Any] = {"load_stage": Stage}
    own = Chain("3dag", "dou2017", "none", CPU, **options)
    config = json.loads((own.root / "configs" / "inference.json").read_text())
    assert own.stages["reduce"].overrides == config["overrides_of"]["3dag dou2017"]["reduce"] != {}
    assert Chain("finds", "dou2017", "none", CPU, **options).stages["reduce"].overrides == {}
    asked = Chain("3dag", "dou2017", "none", CPU, stage_overrides={"reduce": {"prior_weight": 0.1}}, **options)
    assert asked.stages["reduce"].overrides == own.stages["reduce"].overrides | {"prior_weight": 0.1}


@pytest.mark.usefixtures("fake")
def test_a_chain_needs_a_detector() -> None:
    with pytest.raises(InputError, match="stage detect names no bundle"):
        Chains([("none", "doubts", "right")], CPU)
