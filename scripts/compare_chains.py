# SPDX-License-Identifier: Apache-2.0
"""Compare all chains of detector, reducer and characteriser on the same cases, in one table.

``python scripts/compare_chains.py CASES_DIR OUTPUT_DIR [--scans FOLDER,FOLDER]``; ``--help`` lists the options.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lungcad.benchmark.runs import SCRIPTS, paired
from lungcad.bundle.registry import CHAIN, bundle_root
from lungcad.chain.compare import Chains, Names, chains_of, score_chains
from lungcad.cli import run_script
from lungcad.cpu import tune_allocator
from lungcad.options import listed, true_or_false
from lungcad.tables import markdown_row, with_interval
from lungcad.training.cases import load_cases
from lungcad.training.views import rescanned

HEADER = (
    "| detector | reducer | characteriser | found (95 % CI) | false marks / scan | CPM (95 % CI) | at 1 false / scan | "
    "AUC of malignancy (95 % CI), nodules | seconds | memory, GB |\n|---|---|---|---|---|---|---|---|---|---|\n"
)


def compare_chains(
    cases_dir: str, output_dir: str, data: str = "test cases",
    detectors: Sequence[str] = ("dou2017", "yao2018", "3dag", "jnsc"),
    reducers: Sequence[str] = ("none", "dou2017", "yao2018"), characterisers: Sequence[str] = ("mtmrnet", "jnsc"),
    scans: Sequence[str] = (), device: str | None = None, other_scanner: bool = False,
) -> None:  # fmt: skip
    """Run every chain on cases, score it, and print a table; a second run continues where the first was stopped.

    Args:
        cases_dir: folder of cases with 1 mm voxels and masks, as scripts/make_cases.py writes them.
        output_dir: folder for the findings, a scored folder per chain, and chains.md.
        data: description of the cases, in words.
        detectors: short names of the detectors' bundles.
        reducers: short names of the reducers' bundles; ``none`` leaves the stage out.
        characterisers: short names of the characterisers' bundles; ``none`` leaves the stage out.
        scans: DICOM folders on which each chain is also run as a user does, to measure its memory.
        device: device of the networks; a GPU if there is one.
        other_scanner: change each case's sharpness, noise, contrast and offset, as another scanner might have; needs an
            output_dir of its own.
    """
    tune_allocator()
    chains = chains_of(listed(detectors), listed(reducers), listed(characterisers))
    network_device = torch.device(device or ("cuda:0" if torch.cuda.is_available() else "cpu"))
    cases = load_cases(cases_dir, (1.0, 1.0, 1.0))
    if true_or_false("other_scanner", other_scanner):
        cases = [rescanned(case) for case in cases]
    figures = score_chains(Chains(chains, network_device), cases, output_dir, data)
    memory = {chain: _memory(chain, listed(scans)) for chain in chains}
    table = HEADER + "".join(_row(chain, figures[chain], memory[chain]) for chain in chains)
    (Path(output_dir) / "chains.md").write_text(table)
    print(table)


def _memory(chain: Names, scans: Sequence[str]) -> float | None:
    """Peak memory in GB of runs of a chain on the scans; None without scans."""
    keys: dict[str, Any] = dict(zip(("detector", "reducer", "characteriser"), chain, strict=True))
    roots = [(bundle_root(CHAIN), SCRIPTS)]
    return max((paired(roots, scan, 1, **keys)[0]["peak_memory_mb"] / 1024 for scan in scans), default=None)


def _row(chain: Names, figures: Mapping[str, Any], memory: float | None) -> str:
    detection = figures["detection"]
    index = detection["fp_per_scan"].index(1)
    at_one, at_one_ci = (detection[name] and detection[name][index] for name in ("sensitivities", "sensitivities_ci"))
    return markdown_row(
        *(f"`{name}`" for name in chain),
        with_interval(detection["sensitivity"], detection["sensitivity_ci"], ".1%"),
        f"{detection['false_marks_per_scan']:.1f}",
        with_interval(detection["cpm"], detection["cpm_ci"], ".3f"),
        with_interval(at_one, at_one_ci, ".3f"),
        _malignancy(figures["joint"]["malignancy_of_found"]),
        f"{figures['seconds']:.1f}",
        "-" if memory is None else f"{memory:.1f}",
    )  # fmt: skip


def _malignancy(figures: Mapping[str, Any] | None) -> str:
    if figures is None:
        return "-"
    return with_interval(figures["auc"], figures["auc_ci"], ".3f") + f", {figures['nodules']}"


if __name__ == "__main__":
    run_script(compare_chains)
