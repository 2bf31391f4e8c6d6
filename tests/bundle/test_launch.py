# SPDX-License-Identifier: Apache-2.0
import inspect
import json
import sys
from pathlib import Path

import fire
import pytest
from small_cases import ROOT

from lungcad import InputError
from lungcad.bundle.launch import (
    MONAI_ARGUMENTS,
    check_command_line,
    check_override_values,
    check_references,
    parse_flags,
)
from lungcad.bundle.values import switches
from lungcad.errors import find_input_error

KEYS = ["dataset_dir", "output_dir", "device", "detect", "operating_point", "_meta_"]


def test_knows_monais_own_arguments() -> None:
    from monai.bundle import ConfigWorkflow
    from monai.bundle.scripts import run

    for function in (run, ConfigWorkflow.__init__):
        names = set(inspect.signature(function).parameters) - {"self", "override"}
        assert names <= set(MONAI_ARGUMENTS)


@pytest.mark.parametrize(
    "argv",
    [
        "run --config_file a.json --dataset_dir in --output_dir=out",
        "run --detect::threshold 0.2 --detect#stride -1",
        "run --dataset-dir in",
        "run --dataset_dir /data/5%/a$b",
        "run -- --help",
    ],
)
def test_accepts_what_the_config_and_monai_know(argv: str) -> None:
    check_override_values(parse_flags(argv.split()), [*KEYS, *MONAI_ARGUMENTS])


def test_names_the_nearest_key() -> None:
    with pytest.raises(InputError, match=r"E-CONFIG.*--datset_dir.*Did you mean --dataset_dir\?"):
        check_override_values(parse_flags(["run", "--datset_dir", "in"]), KEYS)
    with pytest.raises(InputError, match="Known: dataset_dir"):
        check_override_values(parse_flags(["run", "--zzz", "1"]), KEYS)


@pytest.mark.parametrize(
    "argv",
    [
        ["--device", "$__import__('os').system('true')"],
        ["--device=$1"],
        ["--device", "%other.json#device"],
        ["--device", "['$import os']"],
        ["--device", "{'a': '$1'}"],
        ["--device", "{'_target_': 'os.system', 'command': 'true'}"],
        ["--detect#_target_", "os.system"],
        ["--detect::$x", "1"],
        ["--_meta_", "1"],
        ["--output_dir", "$print(1)"],
        ["--output_dir", "@dataset_dir"],
        ["--device", r"'\x24__import__(\'os\')'"],
        ["--device", r"['\x24import os']"],
        ["--device", r"{'\x5ftarget_': 'os.system'}"],
        ["--device", r"('a', {'b': ['\u0024x']})"],
    ],
)
def test_a_value_that_carries_code_is_refused(argv: list[str]) -> None:
    with pytest.raises(InputError, match="E-CONFIG"):
        check_override_values(parse_flags(["run", *argv]), KEYS)


def test_begin_checks_monais_command_line_against_all_config_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, overlay = tmp_path / "inference.json", tmp_path / "train.json"
    first.write_text('{"dataset_dir": "in"}')
    overlay.write_text('{"epochs": 1}')
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    begin_with = ["run", "--config_file", f"['{first}','{overlay}']"]
    monkeypatch.setattr(sys, "argv", ["/usr/bin/pytest", *begin_with, "--wrong", "1"])
    check_command_line()
    program = "/site-packages/monai/bundle/__main__.py"
    monkeypatch.setattr(sys, "argv", [program, *begin_with, "--dataset_dir", "x", "--epochs", "2"])
    check_command_line()
    monkeypatch.setattr(sys, "argv", [program, *begin_with, "--epoch", "2"])
    with pytest.raises(InputError, match="Did you mean --epochs"):
        check_command_line()


def test_a_bundle_refuses_code_before_any_of_it_is_evaluated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from monai.bundle import ConfigWorkflow

    config = ROOT / "bundles" / "lung_nodule_cad" / "configs" / "inference.json"
    code = f"$open({str(tmp_path / 'evaluated')!r}, 'w')"
    argv = ["/site-packages/monai/bundle/__main__.py", "run", "--config_file", str(config), "--device", code]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    workflow = ConfigWorkflow(str(config), workflow_type="inference", logging_file=False, device=code)
    workflow.initialize()
    with pytest.raises(RuntimeError) as caught:
        workflow.run()
    refusal = find_input_error(caught.value)
    assert refusal is not None and refusal.code == "E-CONFIG"
    assert not (tmp_path / "evaluated").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--dataset_dir", "20240131"], "read as int"),
        (["--dataset_dir", "1e5"], "read as float"),
        (["--dataset_dir", "None"], "read as NoneType"),
        (["--dataset_dir", "Doe,Jane"], "read as tuple"),
        (["--output_dir", "[a]"], "read as list"),
        (["--output_dir", "(a)"], "read as str"),
        (["--candidates", "7"], "read as int"),
        (["--dataset_dir"], "read as bool"),
        (["--dataset_dir", "/data/CT#3"], "holds a #"),
        (["--dataset_dir", "./20240131"], ""),
        (["--dataset_dir", '"20240131"'], ""),
        (["--epochs", "3"], ""),
        (["--candidates", "None"], ""),
        (["--candidates", "['a.json','b.json']"], ""),
        (["--max_candidates", "7"], ""),
    ],
)
def test_names_reach_the_bundle_as_they_are_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], reason: str
) -> None:
    config = tmp_path / "inference.json"
    keys = {"dataset_dir": "in", "output_dir": "out", "epochs": 1, "candidates": None, "max_candidates": 9}
    config.write_text(json.dumps(keys))
    argv = ["/site-packages/monai/bundle/__main__.py", "run", "--config_file", str(config), *words]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    if not reason:
        check_command_line()
        return
    with pytest.raises(InputError, match=f"E-CONFIG.*{reason}"):
        check_command_line()


def test_flags_pair_up_as_fire_does() -> None:
    argv = ["run", "--a", "1", "--b=2=3", "--c", "--d-e", "-5", "-f", "x", "--", "--g"]
    assert parse_flags(argv) == {"a": "1", "b": "2=3", "c": "True", "d_e": "-5", "f": "x"}


def test_a_folder_with_a_percent_sign_is_no_code() -> None:
    check_override_values({"dataset_dir": "50 % dose", "output_dir": "a, $5 (b)"}, KEYS)


CONFIG = {
    "run": ["$check_command_line()"], "initialize": [], "threshold": 0.5, "debug": False, "spacing_mm": [1.0, 1.0, 1.0],
    "leniency": {}, "operating_point": "balanced", "series_uid": None, "device": "$torch.device('cpu')",
    "network_def": {"_target_": "Net", "residual": True, "width": 8},
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("run", "[]"), ("initialize", "['a']"), ("threshold", "[]"), ("threshold", "high"), ("threshold", "True"),
        ("leniency", "7"), ("leniency", "[]"), ("spacing_mm", "1"), ("operating_point", "[]"), ("debug", "{}"),
        ("operating_point", {"a": 1}), ("debug", 3.5), ("network_def#residual", "[]"), ("network_def::width", "wide"),
    ],
)  # fmt: skip
def test_values_of_another_kind_are_refused(key: str, value: object) -> None:
    with pytest.raises(InputError, match="E-CONFIG"):
        check_override_values({key: value}, CONFIG)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("threshold", "1"), ("threshold", 0.25), ("leniency", "{'max_spacing_mm': 7}"), ("spacing_mm", "[2, 2, 2]"),
        ("operating_point", "sensitive"), ("debug", "true"), ("debug", True), ("series_uid", "1.2.3"),
        ("device", "cuda:1"), ("leniency", "None"), ("network_def#residual", "false"), ("network_def#depth", "2"),
    ],
)  # fmt: skip
def test_values_of_the_configs_kind_pass(key: str, value: object) -> None:
    check_override_values({key: value}, CONFIG)


def test_true_and_false_are_switches_in_any_case_where_the_config_has_one() -> None:
    given = {"debug": "FALSE", "network_def#residual": "false", "operating_point": "true", "series_uid": "false"}
    assert switches(given, CONFIG) == {"debug": False, "network_def#residual": False}
    assert switches({"debug": True, "network_def::residual": "True", "network_def#depth": "false"}, CONFIG) == {
        "debug": True, "network_def::residual": True,
    }  # fmt: skip
    assert switches({"dicom_results": "comprehensive"}, {"dicom_results": True}) == {}
    assert switches({"network_def#magnify": "false"}, {"network_def": {}, "network_def#magnify": True}) == {
        "network_def#magnify": False
    }


@pytest.mark.parametrize(("word", "seen"), [("false", False), ("False", False), ("TRUE", True)])
def test_a_switch_on_monais_command_line_is_no_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, word: str, seen: bool
) -> None:
    from monai.bundle.scripts import run

    config = tmp_path / "inference.json"
    config.write_text(
        """{
        "imports": ["$from lungcad.bundle.launch import check_command_line"], "seen": [], "refine": true,
        "layer": {"_target_": "builtins.dict", "residual": true}, "initialize": [],
        "run": ["$check_command_line()", "$@seen.extend([@refine, @layer['residual']])",
                "$open(@out, 'w').write(str(@seen))"],
        "out": ""
        }"""
    )
    out = str(tmp_path / "seen.txt")
    argv = ["run", "--config_file", str(config), "--refine", word, "--layer#residual", word, "--out", out]
    monkeypatch.setattr(sys, "argv", ["/site-packages/monai/bundle/__main__.py", *argv])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    fire.Fire(run, command=argv[1:])
    assert (tmp_path / "seen.txt").read_text() == str([seen, seen])


def test_a_training_config_alone_is_told_what_is_missing() -> None:
    for configs in sorted((ROOT / "bundles").glob("*/configs")):
        inference = json.loads((configs / "inference.json").read_text())
        check_references(inference)
        if (configs / "train.json").is_file():
            training = json.loads((configs / "train.json").read_text())
            check_references(inference | training)
            with pytest.raises(InputError, match=r"E-CONFIG.*network_def.*inference\.json"):
                check_references(training)


@pytest.mark.slow
def test_monais_load_is_told_what_is_missing_and_works_with_the_other_config() -> None:
    import monai.bundle

    name, folder = "lung_nodule_detection_dou2017", str(ROOT / "bundles")
    with pytest.raises(RuntimeError) as caught:
        monai.bundle.load(name, bundle_dir=folder)
    refusal = find_input_error(caught.value)
    assert refusal is not None and "workflow_type='inference'" in refusal.advice
    assert monai.bundle.load(name, bundle_dir=folder, workflow_type="inference") is not None


def test_a_missing_bundle_root_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = ROOT / "bundles" / "lung_nodule_cad" / "configs" / "inference.json"
    argv = ["/site-packages/monai/bundle/__main__.py", "run", "--config_file", str(config), "--dataset_dir", "x"]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"bundle_root is \..*Add --bundle_root .*lung_nodule_cad"):
        check_command_line()
    monkeypatch.setattr(sys, "argv", [*argv, "--bundle_root", str(config.parents[1])])
    check_command_line()


@pytest.mark.parametrize("emptied", [["--run", "[]"], ["--run", "[]", "--initialize", "[]"], ["--run=[]"]])
def test_an_emptied_run_is_refused_at_its_end(monkeypatch: pytest.MonkeyPatch, emptied: list[str]) -> None:
    from monai.bundle import ConfigWorkflow

    root = ROOT / "bundles" / "lung_nodule_detection_dou2017"
    config = str(root / "configs" / "inference.json")
    argv = ["/site-packages/monai/bundle/__main__.py", "run", "--config_file", config, "--bundle_root", str(root)]
    monkeypatch.setattr(sys, "argv", [*argv, *emptied])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    workflow = ConfigWorkflow(config, workflow_type="inference", logging_file=False, bundle_root=str(root), run=[])
    workflow.initialize()
    workflow.run()
    with pytest.raises(RuntimeError) as caught:
        workflow.finalize()
    refusal = find_input_error(caught.value)
    assert refusal is not None and "--run would change what is executed" in refusal.message
    monkeypatch.setattr(sys, "argv", argv)
    workflow.finalize()
