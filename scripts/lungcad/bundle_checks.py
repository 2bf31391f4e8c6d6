# SPDX-License-Identifier: Apache-2.0
"""What must hold for every bundle, one function a check: layout, metadata, weights, network, configs, a run.

A check returns a note for its line, raises :class:`SkipCheck` where it cannot be made, and anything else to fail.
"""

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from pydoc import locate
from typing import Any
from urllib.error import URLError

import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out
from monai.bundle.config_item import ConfigComponent, ConfigExpression

from lungcad.weights import load_state

FILES = (
    "LICENSE", "configs/metadata.json", "configs/inference.json", "configs/logging.conf", "docs/README.md",
    "docs/data_license.txt",
)  # fmt: skip
STAGE_FILES = ("configs/train.json", "configs/evaluate.json", "configs/multi_gpu_train.json", "models/model.pt")
"""What every bundle has, and what a bundle with a network of its own has besides."""

SKELETON = (
    "imports", "bundle_root", "dataset_dir", "output_dir", "series_uid", "device", "precision", "debug", "network_def",
    "network", "preprocessing", "dataset", "dataloader", "inferer", "findings", "postprocessing", "evaluator",
    "collate", "prepare_batch", "initialize", "run",
)  # fmt: skip
CHAIN_SKELETON = (
    "imports", "bundle_root", "dataset_dir", "output_dir", "series_uid", "device", "debug", "stages", "network_def",
    "dataset", "inferer", "evaluator", "initialize", "run",
)  # fmt: skip
"""Top-level keys of inference.json, in this order; a bundle's own knobs stand before ``network_def``."""

LARGEST_MB = 25
LARGEST_CHARACTERISER_MB = 55
"""Of model.pt; a malignancy bundle may hold a ResNet-50."""

SCHEMA_MD5 = "06954cad2cc5d3784e72077ac76f0fc8"
"""Of MONAI's meta_schema_20240725.json."""


class SkipCheck(Exception):
    """A check cannot be made here; says why."""


@dataclass
class Bundle:
    """A bundle under test.

    Attributes:
        root: its folder.
        schema: copy of MONAI's metadata schema; None asks MONAI's own URL.
        work: folder for temporary files.
        series: folder with a small CT series, ``candidates`` for it as CSV; None leaves out the run.
    """

    root: Path
    schema: Path | None
    work: Path
    series: Path | None = None
    candidates: Path | None = None
    meta: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.meta = json.loads(self.config("metadata").read_text())

    def config(self, name: str) -> Path:
        """Path of ``configs/<name>.json``."""
        return self.root / "configs" / f"{name}.json"

    def parser(self, *overlays: str) -> ConfigParser:
        """inference.json with overlays, parsed, nothing instantiated."""
        parser = ConfigParser()
        parser.read_config([str(self.config(name)) for name in ("inference", *overlays)])
        parser.read_meta(str(self.config("metadata")))
        parser["bundle_root"] = str(self.root)
        parser.parse()
        return parser

    @property
    def is_chain(self) -> bool:
        """A chain has no network of its own; ``network_def`` is that of its first stage."""
        return bool(self.meta.get("stage") == "chain")

    @cached_property
    def network(self) -> torch.nn.Module:
        """The network with the bundle's weights, float32, in evaluation mode."""
        network: torch.nn.Module = self.parser().get_parsed_content("network_def")
        network.load_state_dict(load_state(self.root / "models" / "model.pt"))
        return network.eval()


def check_files(bundle: Bundle) -> str:
    """All files of the layout are there."""
    wanted = FILES + (() if bundle.is_chain else STAGE_FILES)
    missing = [name for name in wanted if not (bundle.root / name).is_file()]
    assert not missing, f"missing: {', '.join(missing)}"
    return f"{len(wanted)} files"


def check_metadata(bundle: Bundle) -> str:
    """metadata.json satisfies MONAI's schema; its name is the folder's."""
    assert bundle.meta.get("name") == bundle.root.name, f"name is {bundle.meta.get('name')}"
    url = bundle.meta.get("schema", "")
    copy = bundle.schema or bundle.work / "schema.json"
    try:
        verify_metadata(meta_file=str(bundle.config("metadata")), filepath=str(copy), hash_val=SCHEMA_MD5)
    except (URLError, OSError) as error:
        raise SkipCheck(f"no network for {url} ({error}); give a copy with --schema") from error
    return "copy of the schema" if bundle.schema else url


def check_changelog(bundle: Bundle) -> str:
    """The changelog tells about this version."""
    version = bundle.meta["version"]
    assert version in bundle.meta.get("changelog", {}), f"changelog has no {version}"
    return version


def _walk(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value below a config with its id."""
    yield path, config
    entries = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, value in entries:
        yield from _walk(value, f"{path}#{key}" if path else str(key))


def check_skeleton(bundle: Bundle) -> str:
    """Same keys in the same order in every bundle; our classes say where they come from; no machine's paths."""
    config = json.loads(bundle.config("inference").read_text())
    skeleton = CHAIN_SKELETON if bundle.is_chain else SKELETON
    shared = [key for key in config if key in skeleton]
    assert shared == list(skeleton), f"keys {', '.join(shared)} (expected {', '.join(skeleton)})"
    late = [key for key in list(config)[list(config).index("network_def") :] if key not in skeleton]
    assert not late, f"own keys behind network_def: {', '.join(late)}"
    for path in sorted((bundle.root / "configs").glob("*.json")):
        for where, value in _walk(json.loads(path.read_text())):
            target = value.get("_target_", "") if isinstance(value, dict) else ""
            ours = re.match(r"lungcad\.(networks|inferers|losses)\b", target)
            assert not ours or "_desc_" in value, f"{path.name}: {where} ({target}) has no _desc_"
            machine = isinstance(value, str) and re.search(r"^(/|~|[A-Z]:\\)|/(home|root|tmp|Users|mnt)/", value)
            assert not machine, f"{path.name}: {where} is a path of one machine: {value}"
    return f"{len(config)} keys"


def check_properties(bundle: Bundle) -> str:
    """MONAI finds the properties that an inference workflow must have."""
    workflow = ConfigWorkflow(
        str(bundle.config("inference")), meta_file=str(bundle.config("metadata")), logging_file=False,
        workflow_type="inference", bundle_root=str(bundle.root), initialize=[],
    )  # fmt: skip
    workflow.initialize()  # of nothing, but MONAI asks for it
    missing = workflow.check_properties()
    assert not missing, f"missing: {missing}"
    return "inference workflow"


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
        device="cpu",
    )  # fmt: skip
    shape = bundle.meta["network_data_format"]["inputs"]["image"]["spatial_shape"]
    return " x ".join(map(str, shape))


def check_torchscript(bundle: Bundle) -> str:
    """MONAI's ckpt_export works, and what it exports computes the same."""
    if bundle.is_chain:
        raise SkipCheck("no weights of its own")
    path = bundle.work / f"{bundle.root.name}.ts"
    ckpt_export(
        net_id="network_def", filepath=str(path), ckpt_file=str(bundle.root / "models" / "model.pt"),
        meta_file=str(bundle.config("metadata")), config_file=str(bundle.config("inference")),
    )  # fmt: skip
    exported = torch.jit.load(str(path)).eval()
    image = bundle.meta["network_data_format"]["inputs"]["image"]
    x = torch.rand(2, image["num_channels"], *image["spatial_shape"], generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(exported(x), bundle.network(x), rtol=1e-4, atol=1e-5)
    return "equal to the eager network"


def check_overlays(bundle: Bundle) -> str:
    """Configs parse with their overlays; references, expressions, classes and their arguments exist."""
    overlays = (
        ("train",), ("evaluate",), ("evaluate", "mine"), ("merge",), ("evaluate", "merge"), ("characterise",),
        ("train", "multi_gpu_train"), ("train", "deeplesion"), ("evaluate", "deeplesion"),
    )  # fmt: skip
    stacks: list[tuple[str, ...]] = [(), *overlays]
    stacks = [stack for stack in stacks if all(bundle.config(name).is_file() for name in stack)]
    for stack in stacks:
        resolver = bundle.parser(*stack).ref_resolver
        for name, item in resolver.items.items():
            where = f"{'+'.join(('inference', *stack))}: {name}"
            unknown = resolver.find_refs_in_config(item.get_config(), name).keys() - resolver.items.keys()
            assert not unknown, f"{where} refers to {', '.join(unknown)}"
            if isinstance(item, ConfigComponent):
                _check_call(item, where)
            elif ConfigExpression.is_import_statement(item.get_config()):
                item.evaluate()
            elif isinstance(item, ConfigExpression):
                compile(re.sub(r"@[\w:#]*", "_", item.get_config())[1:].strip(), where, "eval")
    return ", ".join("+".join(("inference", *stack)) for stack in stacks)


def _check_call(item: ConfigComponent, where: str) -> None:
    target = item.resolve_module_name()
    called: Any = locate(target) if isinstance(target, str) else target
    assert called is not None, f"{where}: no {target}"
    arguments = {key: None for key in item.get_config() if not key.startswith("_")}
    signature = inspect.signature(called)
    bind = signature.bind_partial if item.get_config().get("_mode_") else signature.bind
    try:
        bind(**arguments)
    except TypeError as error:
        raise AssertionError(f"{where}: {target}: {error}") from error


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
    package = str(Path(__file__).resolve().parents[1])
    env = os.environ | {"PYTHONPATH": os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])}
    done = subprocess.run(command, cwd=bundle.work, env=env, capture_output=True, text=True, timeout=600)
    told = (done.stderr or done.stdout).strip().splitlines()
    assert done.returncode == 0, f"exit code {done.returncode}: {told[-1] if told else 'silent'}"
    found = list(output.glob("*/nodules.json"))
    assert found, "no nodules.json"
    return f"{len(json.loads(found[0].read_text())['findings'])} findings"


CHECKS: tuple[Callable[[Bundle], str], ...] = (
    check_files, check_metadata, check_changelog, check_skeleton, check_properties, check_weights, check_network,
    check_torchscript, check_overlays, check_inference,
)  # fmt: skip


def verify(
    root: Path, schema: Path | None, work: Path, series: Path | None = None, candidates: Path | None = None,
    checks: Sequence[Callable[[Bundle], str]] = CHECKS,
) -> list[str]:  # fmt: skip
    """Make checks of one bundle, printing a line each; returns the names of those that failed.

    For the other arguments see :class:`Bundle`.
    """
    failed = []
    for check in checks:
        name = check.__name__.removeprefix("check_")
        try:
            result, note = "ok", check(Bundle(root, schema, work, series, candidates))
        except SkipCheck as reason:
            result, note = "skip", str(reason)
        except Exception as error:  # whatever a broken bundle makes MONAI raise is a failed check, not a crash
            result, note = "FAIL", " ".join(f"{type(error).__name__}: {error}".split())[:400]
            failed.append(name)
        print(f"{result:<5}{root.name:<32}{name:<12}{note}", flush=True)
    return failed
