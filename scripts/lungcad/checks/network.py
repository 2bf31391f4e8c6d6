# SPDX-License-Identifier: Apache-2.0
"""Checks of weights and network: size, hash, input and output, export, and a run on a small series."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from monai.bundle import ckpt_export, verify_net_in_out

from lungcad.bundle.weights import load_state
from lungcad.checks.bundle import Bundle, SkipCheck

MAX_MB = 25
"""Largest size of a bundle's weights in MB."""

MAX_CHARACTERISER_MB = 55
"""Largest size of a malignancy bundle's weights in MB: it may hold a ResNet-50."""


def hash_key(weights: Path) -> str:
    """Key of metadata.json for the SHA-256 of model.pt, or of a variant's weights model_<name>.pt."""
    return f"{weights.stem}_weights_sha256".removeprefix("model_")


def check_weights(bundle: Bundle) -> str:
    """Check that weights are plain, finite, small and have the SHA-256 of metadata.json; model.pt fits the network."""
    if bundle.is_chain:
        raise SkipCheck("no weights of its own")
    size = 0.0
    for path in sorted((bundle.root / "models").glob("*.pt")):
        sha256 = bundle.meta.get(hash_key(path))
        load_state(path, sha256)
        assert sha256, f"{hash_key(path)} is not in metadata.json; write it with --write_hash true"
        size += path.stat().st_size / 1e6
    max_mb = MAX_CHARACTERISER_MB if bundle.meta["stage"] == "characterise" else MAX_MB
    assert size <= max_mb, f"{size:.1f} MB (expected {max_mb} at most)"
    state = bundle.network.state_dict()
    return f"{sum(value.numel() for value in state.values())} values, {size:.1f} MB"


def check_network(bundle: Bundle) -> str:
    """Check that the network's input and output are those of metadata.json (MONAI's verify_net_in_out)."""
    verify_net_in_out(
        net_id="network_def", meta_file=str(bundle.config("metadata")), config_file=str(bundle.config("inference")),
        bundle_root=str(bundle.root), device="cpu",
    )  # fmt: skip
    shape = bundle.meta["network_data_format"]["inputs"]["image"]["spatial_shape"]
    return " x ".join(map(str, shape))


def check_torchscript(bundle: Bundle) -> str:
    """Check that MONAI's ckpt_export works and computes the same, and that models/model.ts loads, if there is one."""
    path = bundle.work / f"{bundle.root.name}.ts"
    ckpt_export(
        net_id="network_def", filepath=str(path), ckpt_file=str(bundle.weights),
        meta_file=str(bundle.config("metadata")), config_file=str(bundle.config("inference")),
        bundle_root=str(bundle.root),
    )  # fmt: skip
    shipped = bundle.root / "models" / "model.ts"
    if shipped.is_file():
        torch.jit.load(str(shipped))
    exported = torch.jit.load(str(path)).eval()
    image = bundle.meta["network_data_format"]["inputs"]["image"]
    x = torch.rand(2, image["num_channels"], *image["spatial_shape"], generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(exported(x), bundle.network(x), rtol=1e-4, atol=1e-5)
    return "equal to the eager network"


def check_inference(bundle: Bundle) -> str:
    """Check that ``python -m monai.bundle run`` from another folder on a small series ends with code 0 and results."""
    if bundle.series is None:
        raise SkipCheck("left out")
    output = bundle.work / "out" / bundle.root.name
    command = [
        sys.executable, "-m", "monai.bundle", "run", "--config_file", str(bundle.config("inference")),
        "--bundle_root", str(bundle.root), "--dataset_dir", str(bundle.series), "--output_dir", str(output),
    ]  # fmt: skip
    if bundle.meta["stage"] not in ("chain", "detect"):
        command += ["--candidates", str(bundle.candidates)]
    package = str(Path(__file__).resolve().parents[2])
    env = os.environ | {"PYTHONPATH": os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])}
    done = subprocess.run(command, cwd=bundle.work, env=env, capture_output=True, text=True, timeout=600)
    printed = (done.stderr or done.stdout).strip().splitlines()
    assert done.returncode == 0, f"exit code {done.returncode}: {printed[-1] if printed else 'silent'}"
    found = list(output.glob("*/nodules.json"))
    assert found, "no nodules.json"
    return f"{len(json.loads(found[0].read_text())['findings'])} findings"
