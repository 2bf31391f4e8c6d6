# SPDX-License-Identifier: Apache-2.0
"""Checks of weights and network: sizes, hashes, input and output, export."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from monai.bundle import ckpt_export, verify_net_in_out

from lungcad.bundle.weights import load_state
from lungcad.checks.bundle import Bundle, SkipCheck

LARGEST_MB = 25
LARGEST_CHARACTERISER_MB = 55
"""Of model.pt; a malignancy bundle may hold a ResNet-50."""


def hash_key(weights: Path) -> str:
    """Where metadata.json has the SHA-256 of model.pt, or of model_<name>.pt, weights of a variant."""
    return f"{weights.stem}_weights_sha256".removeprefix("model_")


def check_weights(bundle: Bundle) -> str:
    """Plain, finite state dicts, not too large, which are those that metadata.json means; model.pt fits the network."""
    if bundle.is_chain:
        raise SkipCheck("no weights of its own")
    size = 0.0
    for path in sorted((bundle.root / "models").glob("*.pt")):
        sha256 = bundle.meta.get(hash_key(path))
        load_state(path, sha256)
        assert sha256, f"{hash_key(path)} is not in metadata.json; write it with --write_hash true"
        size += path.stat().st_size / 1e6
    most = LARGEST_CHARACTERISER_MB if bundle.meta["stage"] == "characterise" else LARGEST_MB
    assert size <= most, f"{size:.1f} MB (expected {most} at most)"
    state = bundle.network.state_dict()
    return f"{sum(value.numel() for value in state.values())} values, {size:.1f} MB"


def check_network(bundle: Bundle) -> str:
    """The network takes and gives what metadata.json says (MONAI's verify_net_in_out)."""
    verify_net_in_out(
        net_id="network_def", meta_file=str(bundle.config("metadata")), config_file=str(bundle.config("inference")),
        bundle_root=str(bundle.root), device="cpu",
    )  # fmt: skip
    shape = bundle.meta["network_data_format"]["inputs"]["image"]["spatial_shape"]
    return " x ".join(map(str, shape))


def check_torchscript(bundle: Bundle) -> str:
    """MONAI's ckpt_export works, and what it exports computes the same; models/model.ts, if there is one, loads."""
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
    """``python -m monai.bundle run`` from another folder on a small series ends with exit code 0 and results."""
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
    told = (done.stderr or done.stdout).strip().splitlines()
    assert done.returncode == 0, f"exit code {done.returncode}: {told[-1] if told else 'silent'}"
    found = list(output.glob("*/nodules.json"))
    assert found, "no nodules.json"
    return f"{len(json.loads(found[0].read_text())['findings'])} findings"
