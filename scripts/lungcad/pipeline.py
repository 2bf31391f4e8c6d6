# SPDX-License-Identifier: Apache-2.0
"""The chain: a scan is read once, its lungs found once, then stage after stage works on the list of findings."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lungcad.console import Stages, findings_table, header_lines
from lungcad.cpu import tune_allocator
from lungcad.dicom.lost import changes, folder_state
from lungcad.dicom_results import DicomWriter
from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.grid import Scan
from lungcad.manifest import check_pack
from lungcad.options import check_operating_point, switch
from lungcad.overrides import check_hash
from lungcad.registry import stage_bundle
from lungcad.results import sort_findings, write_results
from lungcad.stage import BundleStage
from lungcad.volumes import read_volume

ORDER = ("detect", "reduce", "characterise")
"""Names of the stages, in the order in which they work."""


class NoduleCAD:
    """Detection, false positive reduction and malignancy on one CT series (the evaluator of ``lung_nodule_cad``).

    Args:
        stages: by stage the name of a bundle or the last part of it (``dou2017``); ``none`` or null leaves a stage
            out, except the first.
        bundles_dir: folder that holds the bundles.
        device: where networks run.
        dataset_dir: DICOM folder, .mhd, .nii.gz or .nrrd.
        output_dir: gets a folder named after the series.
        meta: the chain's own metadata.
        operating_point: name of the threshold above which a finding is reported.
        thresholds: by name, of nodule probability; null for those of the reduction or, without one, the detector.
        stage_overrides: by stage, values for keys of that bundle's inference.json.
        series_uid, acquisition: which series, and which acquisition of it, where there are several.
        leniency: see :func:`lungcad.dicom.read_series`.
        dicom_results: write DICOM objects too, where the input is DICOM (:mod:`lungcad.dicom_results`).

    Raises:
        InputError: E-CONFIG on unknown stages, a switch that is neither true nor false and, when it runs, operating
            points; what reading and the stages raise.
    """

    def __init__(
        self, stages: Mapping[str, str | None], bundles_dir: str, device: torch.device, dataset_dir: str,
        output_dir: str, meta: Mapping[str, Any], operating_point: str, thresholds: Mapping[str, float] | None = None,
        stage_overrides: Mapping[str, Mapping[str, Any]] | None = None, series_uid: str | None = None,
        leniency: Mapping[str, Any] | None = None, dicom_results: bool | str = False, acquisition: Any = None,
    ):  # fmt: skip
        if unknown := (set(stages) | set(stage_overrides or ())) - set(ORDER):
            raise InputError("E-CONFIG", f"unknown stage: {', '.join(sorted(unknown))} (expected {', '.join(ORDER)}).")
        found = {stage: stage_bundle(stage, stages.get(stage), bundles_dir) for stage in ORDER}
        self.roots = {stage: root for stage, root in found.items() if root}
        if "detect" not in self.roots:
            raise InputError("E-CONFIG", "stage detect names no bundle (expected one; only later stages may be none).")
        self.device, self.meta = device, meta
        self.dataset_dir, self.output_dir = dataset_dir, output_dir
        self.operating_point, self.thresholds = operating_point, thresholds
        self.stage_overrides, self.series_uid, self.leniency = stage_overrides or {}, series_uid, leniency or {}
        if acquisition is not None:
            self.leniency = {**self.leniency, "acquisition": str(acquisition)}
        self.dicom_results = switch("dicom_results", dicom_results)

    def run(self) -> Path:
        """Read, work through the stages, write; returns the folder with the results."""
        tune_allocator()
        clock = Stages()
        with clock("load") as line:
            stages = self._load()
            line.note = f"{len(stages)} bundles"
        thresholds = self._thresholds_of(stages)
        before = folder_state(self.dataset_dir)
        with clock("read") as line:
            volume = read_volume(self.dataset_dir, series_uid=self.series_uid, **self.leniency)
            line.note = f"{volume.hu.shape[2]} slices"
        with clock("lungs") as line:
            scan = Scan(volume)
            line.note = f"{scan.lungs.volume_ml:.0f} ml"
        volume = replace(volume, warnings=list(scan.warnings))
        versions = {self.meta["name"]: self.meta["version"]} | {s.meta["name"]: s.version for s in stages.values()}
        header = header_lines(volume, bundles=versions, device=str(self.device), output=str(self.output_dir))
        print(header, file=sys.stderr)
        for warning in volume.warnings:
            print(f"{'warning':<14}{warning}", file=sys.stderr)
        findings: list[Finding] = []
        for name, stage in stages.items():
            with clock(name) as line:
                findings = stage(scan, findings)
                line.note = f"{len(findings)} findings"
        known = {getattr(notice, "code", "") for notice in volume.warnings}
        volume.warnings += [one for one in changes(before, self.dataset_dir) if one.code not in known]
        dicom = DicomWriter(volume, self.dataset_dir, scan.masks, self.leniency, self.dicom_results)
        with clock("report"):
            folder = write_results(
                self.output_dir, volume, findings, thresholds=thresholds, operating_point=self.operating_point,
                bundles=versions, timings=clock.seconds, device=str(self.device), inputs=self.dataset_dir,
                weights_sha256={s.meta["name"]: s.meta["weights_sha256"] for s in stages.values()},
                also=[dicom],
            )  # fmt: skip
        dicom.tell()
        self._tell(findings, thresholds[self.operating_point], folder)
        return folder

    def _load(self) -> dict[str, BundleStage]:
        """The stages; the last one looks at findings from the threshold "sensitive" up, unless told otherwise."""
        stages: dict[str, BundleStage] = {}
        for name, root in self.roots.items():
            overrides = dict(self.stage_overrides.get(name) or {})
            thresholds = self._thresholds_of(stages) if name == "characterise" else {}
            if "sensitive" in thresholds:
                overrides = {"least_probability": thresholds["sensitive"]} | overrides
            stages[name] = BundleStage(root, self.device, overrides, name)
        return stages

    def _thresholds_of(self, stages: Mapping[str, BundleStage]) -> Mapping[str, float]:
        """Those asked for, or those of the stage that has the last word on what is a nodule."""
        thresholds = self.thresholds or stages.get("reduce", stages["detect"]).thresholds
        check_operating_point(self.operating_point, thresholds)
        return thresholds

    def _tell(self, findings: list[Finding], least: float, folder: Path) -> None:
        """The result on stdout: what is above the operating point, and where the rest is."""
        summary = json.loads((folder / "nodules.json").read_text(encoding="utf-8"))["summary"]
        scores = [(one, one.score) for one in sort_findings(findings)]
        shown = [one for one, score in scores if score is None or score >= least]
        print(findings_table(shown, summary))
        print(f"report: {folder / 'report.html'}")


def run_bundle(bundle_root: Path, overrides: Mapping[str, Any]) -> None:
    """Run a bundle's configs/inference.json in this process, as ``python -m monai.bundle run`` does.

    Raises:
        InputError: what the bundle refuses; an altered pack and paths with a ``#``, before any of it is read.
    """
    from monai.bundle import ConfigWorkflow

    check_pack([Path(bundle_root)])
    for key, value in {**overrides, "bundle_root": bundle_root}.items():
        check_hash(key, value)
    configs = Path(bundle_root) / "configs"
    workflow = ConfigWorkflow(
        str(configs / "inference.json"), meta_file=str(configs / "metadata.json"),
        logging_file=str(configs / "logging.conf"), workflow_type="inference", bundle_root=str(bundle_root),
        **overrides,
    )  # fmt: skip
    workflow.initialize()
    workflow.run()
    workflow.finalize()
