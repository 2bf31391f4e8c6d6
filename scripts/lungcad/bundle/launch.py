# SPDX-License-Identifier: Apache-2.0
"""Checks of what a command line changes in a bundle's config: only keys that exist, only plain values of their kind.

``python -m monai.bundle run`` takes any ``--key value``: a misspelt key is silently ignored, and a value that begins
with ``$`` is evaluated as Python. For a program that hospitals point at data, both are refused.
"""

import difflib
import json
import logging.config
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lungcad.bundle.manifest import check_pack
from lungcad.bundle.registry import read_config
from lungcad.bundle.values import PLUMBING, SEVERAL_NAMES, carries_code, check_kind, default_of, switches
from lungcad.errors import InputError
from lungcad.exits import one_line_errors

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

MONAI_ARGUMENTS = (
    "run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file",
    "workflow_name", "workflow_type", "workflow", "properties_path", "bundle_root",
)  # fmt: skip
"""Arguments of ``monai.bundle.run`` and its ConfigWorkflow (MONAI 1.6), besides a config's keys."""

MONAI_PROGRAM = ("monai", "bundle", "__main__.py")
"""End of the path of the program ``python -m monai.bundle``."""

_ONE_NAME = re.compile(r"(dataset|output|run|bundles)_dir|bundle_root")
"""Keys that hold a single name."""

_NAMES = re.compile(rf"{SEVERAL_NAMES.pattern}|series_uid")
"""Keys that hold one name; and keys that may also hold a list of names, or None."""


def check_command_line(finished: bool = False) -> None:
    """Check a command line of ``python -m monai.bundle run``: no altered pack, no unknown override, none with code.

    The first line of a bundle's ``run``, or of a training's ``initialize``. From here on a failure ends the process
    with one line.

    It stands in ``run``, not in ``initialize``, because MONAI puts the bundle's folder, where a packed bundle has its
    lungcad, on Python's path between the two. It refers to nothing in the config, because a reference would evaluate
    the very expressions that must be refused. An override of ``run`` or ``initialize`` itself comes before it: let
    users of a service choose values, never keys. It checks overrides only where the process is
    ``python -m monai.bundle``.

    Args:
        finished: whether it is called in ``finalize``, where it checks only a command line that changed what is
            executed and so kept the first check from being called (``--run []``).

    Raises:
        InputError: E-CONFIG; E-WEIGHTS.
    """
    program = Path(sys.argv[0]).parts[-3:]
    flags = parse_flags(sys.argv[1:]) if program == MONAI_PROGRAM else {}
    if finished and not flags.keys() & {*PLUMBING, "run_id", "init_id"}:
        return
    if program == MONAI_PROGRAM:
        one_line_errors(flags.get("debug", False))
    silence_optional_decoder()
    files = config_files(flags.get("config_file", "[]"))
    check_pack(bundle_of(file) for file in files)
    if files:
        from monai.bundle import ConfigParser

        config = ConfigParser.load_config_files(files)
        _check_names(flags)
        check_override_values(flags, dict.fromkeys(MONAI_ARGUMENTS) | config)
        check_bundle_root(flags, config, files)
        if (parser := _parser_in_use()) is not None:
            for key, value in switches(flags, config).items():
                parser[key] = value  # MONAI has it as text, which would count as true
    check_references(config_in_use())


def config_files(config_file: str) -> list[str]:
    """Names of config files in the value of ``--config_file``: one name, or several as ``['a.json', 'b.json']``."""
    from fire.parser import DefaultParseValue

    value = DefaultParseValue(config_file)
    return [str(name) for name in value] if isinstance(value, list | tuple) else [str(value)]


def bundle_of(config_file: str) -> Path:
    """Folder of the bundle that a config file belongs to, by MONAI's rule."""
    folder = Path(config_file).parent
    return folder.parent if folder.name == "configs" else folder


def check_override_values(overrides: Mapping[str, Any], config: Mapping[str, Any] | Iterable[str]) -> None:
    """Refuse ``--key value`` pairs that the config does not know, that carry code or that MONAI would alter.

    Args:
        overrides: values by key.
        config: keys that may be given, such as the config's top level; with its values, a value of another kind is
            refused too. A nested id (``detect::threshold`` or ``detect#threshold``) is known where its first part is.

    Raises:
        InputError: E-CONFIG.
    """
    config = config if isinstance(config, Mapping) else dict.fromkeys(config)
    allowed = {key for key in config if not key.startswith("_")}
    for key, value in overrides.items():
        parts = re.split(r"::|#", key.removeprefix("+"))
        if parts[0] not in allowed:
            near = difflib.get_close_matches(parts[0], sorted(allowed), n=1, cutoff=0.5)
            hint = f"Did you mean --{near[0]}?" if near else f"Known: {', '.join(sorted(allowed))}."
            raise InputError("E-CONFIG", f"unknown option --{key} (expected a key of the bundle's config).", hint)
        check_hash(key, value)
        plain_id = all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_]*", part) for part in parts)
        if not plain_id or carries_code(value):
            raise InputError(
                "E-CONFIG", f"--{key} carries an expression (expected a plain value).",
                "Put expressions into a config file of your own and add it to --config_file.",
            )  # fmt: skip
        check_kind(key, value, default_of(config, key))


def check_hash(key: str, value: Any) -> None:
    """Refuse ``#`` in a value: MONAI takes it for its ``::`` and would look for another path.

    Raises:
        InputError: E-CONFIG.
    """
    if "#" in str(value):
        raise InputError("E-CONFIG", f"--{key} holds a # (expected none: MONAI reads it as ::).", "Use another name.")


def _check_names(flags: Mapping[str, str]) -> None:
    """Refuse names that fire, which MONAI's command line uses, turns into something else, such as 20240131."""
    from fire.parser import DefaultParseValue

    for key, value in flags.items():
        read_as = DefaultParseValue(value)
        altered = read_as != value and not value.startswith(("'", '"'))
        if (_ONE_NAME.fullmatch(key) and altered) or (_NAMES.fullmatch(key) and isinstance(read_as, int | float)):
            text = f"--{key} {value} is read as {type(read_as).__name__} {read_as} (expected text)."
            raise InputError("E-CONFIG", text, f"Write ./{value} of a folder or file, or quote it twice.")


def parse_flags(argv: Sequence[str]) -> dict[str, str]:
    """Pair flags with values as fire does: ``--a b``, ``--a=b``, ``--a`` alone, ``-`` in names as ``_``."""
    flags: dict[str, str] = {}
    name = None
    for argument in argv:
        if argument == "--":  # what follows is for fire itself
            break
        if re.match(r"--|-[A-Za-z]", argument):
            name, given, value = argument.lstrip("-").partition("=")
            name = name.replace("-", "_")
            flags[name] = value if given else "True"
            name = None if given else name
        elif name is not None:
            flags[name], name = argument, None
    return flags


def silence_optional_decoder() -> None:
    """Keep MONAI from warning that a GPU decoder for DICOM is not installed: our own reader needs none."""
    logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="NvImgCodecPydicomReader")


def check_bundle_root(flags: Mapping[str, str], config: Mapping[str, Any], files: Sequence[str]) -> None:
    """Refuse a bundle's config without the folder of the bundle, where its weights lie.

    Raises:
        InputError: E-CONFIG, with the option to add.
    """
    bundle, root = bundle_of(files[0]), str(flags.get("bundle_root", config.get("bundle_root", "")))
    if (bundle / "configs" / "metadata.json").is_file() and root and not (Path(root) / "configs").is_dir():
        text = f"bundle_root is {root}, where there is no bundle (expected the folder above configs)."
        raise InputError("E-CONFIG", text, f"Add --bundle_root {bundle}.")


def check_references(config: Mapping[str, Any]) -> None:
    """Refuse a config that refers to keys which it does not have, such as a train.json without its inference.json.

    Raises:
        InputError: E-CONFIG, with the keys.
    """
    needed = dict.fromkeys(re.findall(r"@([A-Za-z]\w*)", json.dumps(dict(config), default=str)))
    if missing := [key for key in needed if key not in config]:
        text = f"the config has no {', '.join(missing)} (expected: it lies over the bundle's inference.json)."
        advice = "Give --config_file \"['configs/inference.json','configs/train.json']\", or workflow_type='inference'."
        raise InputError("E-CONFIG", text, f"{advice[:-1]} to monai.bundle.load.")


def config_in_use() -> Mapping[str, Any]:
    """Config of MONAI's workflow that is evaluating us; empty without one. No argument may refer to it."""
    parser = _parser_in_use()
    return {} if parser is None else dict(parser.config)


def _parser_in_use() -> "ConfigParser | None":
    """Parser of MONAI's workflow that is evaluating us; None without one."""
    from monai.bundle import ConfigWorkflow

    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if isinstance(workflow := frame.f_locals.get("self"), ConfigWorkflow):
            return workflow.parser
    return None


def run_bundle(bundle_root: Path, overrides: Mapping[str, Any]) -> None:
    """Run a bundle's configs/inference.json in this process, as ``python -m monai.bundle run`` does.

    Raises:
        InputError: whatever the bundle refuses; an altered pack or a path with a ``#``, before anything is read.
    """
    from monai.bundle import ConfigWorkflow

    check_pack([Path(bundle_root)])
    silence_optional_decoder()
    for key, value in {**overrides, "bundle_root": bundle_root}.items():
        check_hash(key, value)
    configs = Path(bundle_root) / "configs"
    logging.config.fileConfig(configs / "logging.conf", disable_existing_loggers=False)
    logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)  # which configs it reads is no news
    workflow = ConfigWorkflow(
        str(configs / "inference.json"), meta_file=str(configs / "metadata.json"), logging_file=False,
        workflow_type="inference", bundle_root=str(bundle_root),
        **(dict(overrides) | switches(overrides, read_config(Path(bundle_root)))),
    )  # fmt: skip
    workflow.initialize()
    workflow.run()
    workflow.finalize()
