# SPDX-License-Identifier: Apache-2.0
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from dicom_results_case import ball_mask
from monai.bundle import ConfigParser
from small_cases import CPU, ROOT, small_bundles, small_chest, write_image

import lungcad
from lungcad.bundle.launch import run_bundle
from lungcad.bundle.registry import describe, list_bundles, stage_bundle
from lungcad.chain.cad import NoduleCAD
from lungcad.chain.chain import Chain
from lungcad.chain.stage import BundleStage
from lungcad.errors import InputError
from lungcad.finding import ATTRIBUTES, Finding
from lungcad.phantom import write_series
from lungcad.reading.volume_file import published_name
from lungcad.results.dicom import REPORT_FILE, SEGMENTATION_FILE
from lungcad.scan.scan import Scan

DETECT, REDUCE = "lung_nodule_detection_dou2017", "lung_nodule_fpr_dou2017"
CHARACTERISE = "lung_nodule_malignancy_mtmrnet"
FILES = {"nodules.json", "nodules.csv", "report.html", "run.json"}
ANYTHING: Mapping[str, Mapping[str, Any]] = {
    "detect": {"score_threshold": 1e-6, "max_candidates": 5}, "reduce": {"least_probability": 0.0},
    "characterise": {"least_probability": 0.0, "precision": "float32"},
}  # fmt: skip


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image(tmp_path_factory.mktemp("ct") / "chest.nii.gz", *small_chest())


def chain(bundles: Path, ct: Path, out: Path, **changes: Any) -> NoduleCAD:
    config = json.loads((bundles / "lung_nodule_cad" / "configs" / "inference.json").read_text())
    names = {"detect": config["detector"], "reduce": config["reducer"], "characterise": config["characteriser"]}
    names |= changes.pop("stages", {})
    keys = ("dataset_dir", "leniency", "dicom_results", "indication")
    run = {key: changes.pop(key) for key in keys if key in changes}
    made = Chain(
        *names.values(), CPU,
        **{"operating_point": config["operating_point"], "stage_overrides": ANYTHING, "bundles_dir": bundles,
           "measurer": None} | changes,
    )  # fmt: skip
    return NoduleCAD(made, **({"dataset_dir": str(ct), "output_dir": str(out)} | run))


def document_in(folder: Path) -> dict[str, Any]:
    assert {path.name for path in folder.iterdir()} == FILES
    document: dict[str, Any] = json.loads((folder / "nodules.json").read_text())
    return document


def test_chain_reads_works_writes_and_tells(
    bundles: Path, ct: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = chain(bundles, ct, tmp_path).run()
    assert folder == tmp_path / "chest"
    document = document_in(folder)
    assert 1 <= len(document["findings"]) <= 5
    for finding in document["findings"]:
        assert 0 <= finding["nodule_probability"] <= 1
        assert 0 < finding["detection_score"] <= 1
        assert finding["diameter_mm"] > 0
        assert 0 <= finding["malignancy_probability"] <= 1
        assert set(finding["attributes"]) == set(ATTRIBUTES)
        assert all(1 <= score <= 6 for score in finding["attributes"].values())
    run = json.loads((folder / "run.json").read_text())
    assert set(run["bundles"]) == {"lung_nodule_cad", DETECT, REDUCE, CHARACTERISE}
    assert set(run["seconds"]) >= {"load", "read", "lungs", "detect", "reduce", "characterise", "report"}
    names = (DETECT, REDUCE, CHARACTERISE)
    metadata = [json.loads((bundles / name / "configs" / "metadata.json").read_text()) for name in names]
    assert run["weights_sha256"] == {meta["name"]: meta["weights_sha256"] for meta in metadata}
    told = capsys.readouterr()
    assert told.out.startswith(document["summary"])
    assert "report.html" in told.out
    assert "detect" in told.err
    assert str(ct.parent) not in told.err


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    hu, affine = small_chest()
    folder = tmp_path_factory.mktemp("series")
    write_series(folder, hu.round(), affine, patient_name="Kept^Secret", patient_id="Hidden")
    return folder


def test_chain_writes_dicom_objects_beside_its_json(
    bundles: Path, series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    as_it_is = BundleStage.__call__

    def segmenting(stage: BundleStage, scan: Scan, findings: Sequence[Finding] = ()) -> list[Finding]:
        found = as_it_is(stage, scan, findings)
        return [replace(one, mask=ball_mask(one.center_lps_mm, (6, 6, 6), np.eye(4))) for one in found]

    monkeypatch.setattr(BundleStage, "__call__", segmenting)
    folder = chain(bundles, series, tmp_path, dicom_results=True, thresholds={"balanced": 0.0}).run()
    assert {path.name for path in folder.iterdir()} == FILES | {REPORT_FILE, SEGMENTATION_FILE}
    document = json.loads((folder / "nodules.json").read_text())
    groups = hd.sr.srread(folder / REPORT_FILE).content.get_volumetric_roi_measurement_groups()
    segments = hd.seg.segread(folder / SEGMENTATION_FILE).SegmentSequence
    assert [one.tracking_uid for one in groups] == [one.TrackingUID for one in segments]
    for entry, group in zip(document["findings"], groups, strict=True):
        told = {one.name.meaning: one.value for one in group.get_measurements()}
        assert "Diameter" not in told  # the detector's stands with its circle, not with the mask
        assert told["Certainty of Finding"] == min(max(round(100 * entry["nodule_probability"]), 1), 99)
    assert str(hd.sr.srread(folder / REPORT_FILE).PatientName) == "Kept^Secret"
    said = "".join(capsys.readouterr()) + "".join((folder / name).read_text() for name in FILES)
    assert "Secret" not in said and "Hidden" not in said


def test_input_that_is_not_dicom_gives_no_dicom_objects_and_says_so(
    bundles: Path, ct: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document_in(chain(bundles, ct, tmp_path, dicom_results="true").run())
    assert "no report and no segmentation: the input is not DICOM" in capsys.readouterr().err


def test_no_dicom_objects_where_none_are_wanted(bundles: Path, series: Path, tmp_path: Path) -> None:
    document_in(chain(bundles, series, tmp_path, dicom_results="false").run())


def test_no_finding_is_a_result(bundles: Path, ct: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = {"detect": {"score_threshold": 0.999999}}
    document = document_in(chain(bundles, ct, tmp_path, stage_overrides=nothing).run())
    assert document["findings"] == []
    assert document["summary"].startswith("no nodule at or above")
    assert "no nodule" in capsys.readouterr().out


def test_a_finding_of_unknown_score_is_told_like_any_other_that_is_reported(
    bundles: Path, ct: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [Finding((1.0, 2.0, 3.0)), Finding((4.0, 5.0, 6.0), None, 0.5), Finding((7.0, 8.0, 9.0), None, 0.99)]
    monkeypatch.setattr(BundleStage, "__call__", lambda *_: found)
    chain(bundles, ct, tmp_path, thresholds={"balanced": 0.6}).run()
    summary, _, *rows, _ = capsys.readouterr().out.splitlines()
    assert summary == "2 nodules at or above 0.6 (balanced)"
    assert sorted(row.split()[1:] for row in rows) == [
        ["1.0", "2.0", "3.0", "-", "-"], ["7.0", "8.0", "9.0", "-", "0.99"],
    ]  # fmt: skip


def test_later_stages_may_be_null(bundles: Path, ct: Path, tmp_path: Path) -> None:
    stages = {"detect": DETECT, "reduce": None, "characterise": "none"}
    folder = chain(bundles, ct, tmp_path, stages=stages, stage_overrides={"detect": ANYTHING["detect"]}).run()
    document = document_in(folder)
    assert document["findings"]
    assert all(finding["nodule_probability"] is None for finding in document["findings"])
    assert DETECT in document["software"]["bundles"]
    assert REDUCE not in document["software"]["bundles"]


def thresholds_of(bundle: Path) -> dict[str, Any]:
    thresholds: dict[str, Any] = json.loads((bundle / "configs" / "inference.json").read_text())["thresholds"]
    return thresholds


def test_every_detector_and_reducer_has_thresholds_for_the_chain() -> None:
    for bundle in list_bundles():
        if describe(bundle["name"])["stage"] in ("detect", "reduce"):
            thresholds = thresholds_of(Path(bundle["root"]))
            assert 0 < thresholds["sensitive"] <= thresholds["balanced"] <= thresholds["conservative"] < 1


def test_the_chain_takes_the_thresholds_of_its_pair_else_those_of_its_stages() -> None:
    parser = ConfigParser()
    parser.read_config(str(ROOT / "bundles" / "lung_nodule_cad" / "configs" / "inference.json"))
    pairs = parser["thresholds_of"]
    for pair, thresholds in pairs.items():
        detector, reducer = pair.split()
        assert stage_bundle("detect", detector) and stage_bundle("reduce", reducer)
        assert 0 < thresholds["sensitive"] < thresholds["balanced"] < thresholds["conservative"] < 1
    assert Chain(device=CPU).thresholds == pairs[f"{parser['detector']} {parser['reducer']}"]
    assert Chain(DETECT.replace("dou2017", "3dag"), REDUCE, device=CPU).thresholds == pairs["3dag dou2017"]
    for reducer in (None, "none"):
        alone = Chain("3dag", reducer, None, CPU)
        assert alone.thresholds == alone.stages["detect"].thresholds


def test_a_chain_of_python_is_the_bundles_own_unless_told_otherwise() -> None:
    config = json.loads((ROOT / "bundles" / "lung_nodule_cad" / "configs" / "inference.json").read_text())
    defaults = {name: one.default for name, one in inspect.signature(Chain).parameters.items()}
    for name in ("detector", "reducer", "characteriser", "measurer", "operating_point", "thresholds"):
        assert defaults[name] == config[name]


@pytest.mark.parametrize("reducer", ["dou2017", "yao2018", "none"])
@pytest.mark.parametrize("detector", ["dou2017", "yao2018", "3dag"])
def test_any_detector_goes_with_any_reducer(
    bundles: Path, ct: Path, tmp_path: Path, detector: str, reducer: str
) -> None:
    anything = {key: value for key, value in ANYTHING.items() if reducer != "none" or key != "reduce"}
    stages = {"detect": detector, "reduce": reducer, "characterise": "mtmrnet"}
    document = document_in(chain(bundles, ct, tmp_path, stages=stages, stage_overrides=anything).run())
    first = f"lung_nodule_detection_{detector}"
    last = f"lung_nodule_fpr_{reducer}" if reducer != "none" else first
    assert set(document["software"]["bundles"]) == {"lung_nodule_cad", first, last, CHARACTERISE}
    least = {"candidates": ANYTHING["detect"]["score_threshold"]} if (detector, reducer) == ("dou2017", "none") else {}
    config = json.loads((bundles / "lung_nodule_cad" / "configs" / "inference.json").read_text())
    pair = config["thresholds_of"].get(f"{detector} {reducer}")
    assert document["thresholds"] == (pair or thresholds_of(bundles / last) | least)
    assert document["findings"]
    for finding in document["findings"]:
        assert 0 < finding["detection_score"] <= 1
        assert (finding["nodule_probability"] is None) == (reducer == "none" and detector != "3dag")
        known = reducer != "none" or detector != "dou2017"
        assert (finding["diameter_mm"] is not None) == known
        assert (finding["malignancy_probability"] is not None) == known


@pytest.mark.parametrize(("detector", "reducer"), [("yao2018", "yao2018"), ("3dag", "none")])
def test_malignancy_is_asked_of_what_is_above_the_sensitive_threshold(
    bundles: Path, ct: Path, tmp_path: Path, detector: str, reducer: str
) -> None:
    stages = {"detect": detector, "reduce": reducer, "characterise": "mtmrnet"}
    given = {key: value for key, value in ANYTHING.items() if key == "detect" or reducer != "none"}
    given["characterise"] = {"precision": "float32"}

    def findings(**changes: Any) -> list[dict[str, Any]]:
        one = chain(bundles, ct, tmp_path, stages=stages, stage_overrides=given, **changes).run()
        found: list[dict[str, Any]] = document_in(one)["findings"]
        return found

    scores = sorted(finding["nodule_probability"] for finding in findings())
    between = (scores[0] + scores[-1]) / 2
    assert scores[0] < between < scores[-1]
    for finding in findings(thresholds={"sensitive": between, "balanced": between}):
        asked = finding["nodule_probability"] >= between
        assert (finding["malignancy_probability"] is not None) == asked


@pytest.mark.parametrize(("change", "text"), [
    ({"stage_overrides": {"detcet": {"score_threshold": 0.5}}}, "unknown stage: detcet"),
    ({"stages": {"detect": "yao"}}, "no bundle yao for the stage detect .expected 3dag, dou2017, yao2018"),
    ({"stages": {"detect": REDUCE}}, "for the stage detect"),
    ({"stages": {"detect": None, "reduce": REDUCE}}, "stage detect names no bundle"),
    ({"dicom_results": "treu"}, "dicom_results is treu .expected true or false"),
    ({"indication": "routine"}, "indication is routine .expected null, screening or incidental"),
])  # fmt: skip
def test_a_wrong_set_up_is_refused_at_once(
    bundles: Path, ct: Path, tmp_path: Path, change: dict[str, Any], text: str
) -> None:
    with pytest.raises(InputError, match=text) as caught:
        chain(bundles, ct, tmp_path, **change)
    assert caught.value.code == "E-CONFIG"


@pytest.mark.parametrize(("change", "code"), [
    ({"stage_overrides": {"detect": {"no_such_key": 1}}}, "E-CONFIG"),
    ({"operating_point": "balance"}, "E-CONFIG"),
    ({"leniency": {"max_spacing": 3}}, "E-CONFIG"),
    ({"leniency": {"max_spacing_mm": 3.0}}, "E-SPACING-THICK"),
    ({"dataset_dir": "no/such.nii.gz"}, "E-NO-DICOM"),
])  # fmt: skip
def test_what_cannot_run_is_refused_and_leaves_nothing(
    bundles: Path, ct: Path, tmp_path: Path, change: dict[str, Any], code: str
) -> None:
    with pytest.raises(InputError) as caught:
        chain(bundles, ct, tmp_path / "out", **change).run()
    assert caught.value.code == code
    assert not (tmp_path / "out").exists()


def test_a_body_without_lungs_is_refused(bundles: Path, tmp_path: Path) -> None:
    hu, affine = small_chest()
    hu[hu < -700] = 40.0
    hu[:2] = -1000.0  # air beside the body
    with pytest.raises(InputError) as caught:
        chain(bundles, write_image(tmp_path / "belly.mhd", hu, affine), tmp_path / "out").run()
    assert caught.value.code == "E-NO-LUNG"
    assert not (tmp_path / "out").exists()


def test_bundles_of_the_stages_run_one_after_the_other(
    bundles: Path, ct: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # bundles set their own
    candidates, nodules = (tmp_path / part / "chest" / "nodules.json" for part in "ab")
    few = {"score_threshold": 1e-6, "max_candidates": 5}
    with pytest.raises(InputError, match=r"E-CONFIG.*dataset_dir holds a #"):
        run_bundle(bundles / DETECT, {"dataset_dir": f"{ct}#2", "output_dir": str(tmp_path / "a")} | few)
    run_bundle(bundles / DETECT, {"dataset_dir": str(ct), "output_dir": str(tmp_path / "a")} | few)
    run_bundle(bundles / REDUCE, {"dataset_dir": str(ct), "output_dir": str(tmp_path / "b"),
                                  "candidates": str(candidates), "least_probability": 0.0})  # fmt: skip
    run_bundle(bundles / CHARACTERISE, {"dataset_dir": str(ct), "output_dir": str(tmp_path / "c"),
                                        "candidates": str(nodules), **ANYTHING["characterise"]})  # fmt: skip
    found, reduced, seen = (document_in(tmp_path / part / "chest")["findings"] for part in "abc")
    chained = document_in(chain(bundles, ct, tmp_path / "d").run())["findings"]
    assert found and seen
    assert {f["detection_score"] for f in reduced} <= {f["detection_score"] for f in found}
    assert all(f["malignancy_probability"] is None for f in reduced)
    # each alone with a file between them, or all in a chain: the same but for the file's six decimals
    assert len(seen) == len(chained)
    for alone, together in zip(seen, chained, strict=True):
        told = alone.pop("attributes") | {"malignancy": alone.pop("malignancy_probability")}
        expected = together.pop("attributes") | {"malignancy": together.pop("malignancy_probability")}
        assert told == pytest.approx(expected, abs=1e-4)
        assert alone == together


def from_another_folder(bundles: Path, cwd: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """``python -m monai.bundle run`` of the chain."""
    root = bundles / "lung_nodule_cad"
    command = [
        sys.executable, "-m", "monai.bundle", "run", "--config_file", str(root / "configs" / "inference.json"),
        "--bundle_root", str(root), *options,
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(Path(lungcad.__file__).parents[1]), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=600)


def test_chain_runs_from_another_folder(bundles: Path, ct: Path, tmp_path: Path) -> None:
    done = from_another_folder(bundles, tmp_path, "--dataset_dir", str(ct), "--output_dir", "out")
    assert done.returncode == 0, done.stderr
    assert document_in(tmp_path / "out" / "chest")["series"]["series_uid"] == published_name("chest")


def test_refusals_exit_with_2_and_one_line(tmp_path: Path, ct: Path) -> None:
    folder = small_bundles(tmp_path / "bundles")
    weights = folder / REDUCE / "models" / "model.pt"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    done = from_another_folder(folder, tmp_path, "--dataset_dir", str(ct), "--output_dir", "out")
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error[E-WEIGHTS] weights altered")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_output_is_tried_before_the_work(
    bundles: Path, ct: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr(Chain, "find", never)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="E-OUTPUT"):
        chain(bundles, ct, tmp_path / "file" / "out").run()
    (tmp_path / "out" / "chest").mkdir(parents=True)
    (tmp_path / "out" / "chest" / "IM0001.dcm").write_text("somebody's")
    with pytest.raises(InputError, match=r"E-OUTPUT.*other files"):
        chain(bundles, ct, tmp_path / "out").run()
    assert (tmp_path / "out" / "chest" / "IM0001.dcm").read_text() == "somebody's"


@pytest.mark.parametrize(
    "changes",
    [
        {"leniency": 7}, {"thresholds": 5}, {"thresholds": {"balanced": "high"}}, {"stage_overrides": ["a"]},
        {"stage_overrides": {"detect": 3}}, {"operating_point": 3}, {"device": "toaster"}, {"stages": {"detect": 5}},
        {"dicom_results": "perhaps"},
    ],
)  # fmt: skip
def test_options_of_the_wrong_kind_are_refused(
    bundles: Path, ct: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    device = changes.get("device")
    with pytest.raises(InputError, match="E-CONFIG"):
        if device:
            Chain(device=device, bundles_dir=bundles)
        chain(bundles, ct, tmp_path, **dict(changes)).run()
    assert list(tmp_path.iterdir()) == []
