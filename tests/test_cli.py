# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lungcad import __version__, cli
from lungcad.dicom import SeriesSummary
from lungcad.options import listed, one_of

SCRIPTS = Path(cli.__file__).parents[2]


@pytest.fixture
def bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    configs = tmp_path / "bundles" / "lung_nodule_cad" / "configs"
    configs.mkdir(parents=True)
    metadata = {
        "version": "0.3.0", "task": "find nodules", "description": "A chain.", "eval_metrics": {"cpm": 0.8},
        "network_data_format": {"inputs": {"image": {"num_channels": 1, "spatial_shape": ["*", "*", "*"]}}},
    }  # fmt: skip
    (configs / "metadata.json").write_text(json.dumps(metadata))
    (configs / "inference.json").write_text(json.dumps(dict.fromkeys(["dataset_dir", "output_dir", "threshold"])))
    monkeypatch.setenv("LUNGCAD_BUNDLES", str(tmp_path / "bundles"))
    return tmp_path / "bundles"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, dict[str, Any]]]:
    """Collects what the launcher is asked to run."""
    asked: list[tuple[Path, dict[str, Any]]] = []
    monkeypatch.setattr("lungcad.bundle.launch.run_bundle", lambda root, overrides: asked.append((root, overrides)))
    monkeypatch.setattr("lungcad.cli.start.start", lambda root, values: None)
    return asked


def _fails(code: int, *arguments: str) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == code


@pytest.mark.parametrize("arguments", ["", "--help", "--version", "list", "describe lung_nodule_cad", "run --help"])
def test_discovery_needs_no_torch(arguments: str, bundles: Path) -> None:
    code = """
import sys, lungcad.cli
try:
    lungcad.cli.main()
finally:
    assert not {"torch", "monai"} & set(sys.modules)
"""
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS), "PAGER": "cat"}
    command = [sys.executable, "-c", code, *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr


@pytest.mark.parametrize("command", ["inspect {empty}", "run {empty} {out}", "run {empty}/missing.nii.gz {out}",
                                     "run {empty} {out} --bundle lung_nodule_detection_dou2017",
                                     "run {empty} {out} --detector dou2018"])  # fmt: skip
def test_refusal_waits_for_no_network(command: str, tmp_path: Path) -> None:
    code = """
import sys, lungcad.cli
try:
    lungcad.cli.main()
finally:
    assert not {"torch", "monai", "SimpleITK", "scipy", "highdicom", "requests", "gdcm"} & set(sys.modules)
"""
    (tmp_path / "empty").mkdir()
    words = command.format(empty=tmp_path / "empty", out=tmp_path / "out").split()
    environment = {key: value for key, value in os.environ.items() if key != "LUNGCAD_BUNDLES"}
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60,
                          env=environment | {"PYTHONPATH": str(SCRIPTS)})  # fmt: skip
    assert done.returncode == 2 and done.stderr.startswith("error[E-") and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "out").exists()


def test_usage_is_short_and_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main([])
    usage = capsys.readouterr().out
    assert len(usage.splitlines()) <= 14 and "example: lungcad run" in usage and "Research use only" in usage


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--version"])
    assert capsys.readouterr().out == f"lungcad {__version__}\n"


def test_list_and_describe(bundles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["list"])
    assert capsys.readouterr().out.splitlines()[1].split() == ["lung_nodule_cad", "0.3.0", "no", "find", "nodules"]
    cli.main(["list", "--json"])
    assert json.loads(capsys.readouterr().out)[0]["version"] == "0.3.0"
    cli.main(["describe", "lung_nodule_cad"])
    words = capsys.readouterr().out
    assert "A chain." in words and "cpm: 0.8" in words and "channels 1, * x * x *" in words
    cli.main(["describe", "lung_nodule_cad", "--json"])
    assert json.loads(capsys.readouterr().out)["task"] == "find nodules"


def test_run_hands_over_paths_as_text_and_further_keys(
    bundles: Path, runs: list[tuple[Path, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    cli.main(["run", "2020", "1e5", "--threshold", "0.25"])
    expected = {"dataset_dir": str(tmp_path / "2020"), "output_dir": str(tmp_path / "1e5"), "threshold": 0.25}
    assert runs == [(bundles / "lung_nodule_cad", expected)]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["run", "in", "out", "--treshold", "1"], "Did you mean --threshold?"),
        (["run", "in", "out", "--threshold", "$1"], "expression"),
        (["run", "in", "out", "--bundle", "lung_nodule_cat"], "Did you mean lung_nodule_cad?"),
        (["run", "in", "out", "--series_uid", "1.2"], "unknown option --series_uid"),
        (["run", "in", "out", "--bundle_root", "x"], "unknown option --bundle_root"),
        (["run", "in", "out", "--dataset_dir", "other"], "unknown option --dataset_dir"),
        (["run", "in", "out", "--run", "[]"], "unknown option --run"),
        (["run", "in", "out", "--initialize", "[]"], "unknown option --initialize"),
        (["run", "in", "out", "--threshold", r"'\x24__import__(1)'"], "expression"),
        (["run", "in", "out", "--debug", "maybe"], "expected true or false"),
        (["list", "--json", "maybe"], "expected true or false"),
        (["describe", "nothing"], "error[E-BUNDLE]"),
        (["inspekt", "in"], "Did you mean inspect?"),
        (["inspect", "in", "--lenency", "{}"], "unknown option: --lenency. Did you mean --leniency?"),
        (["score", "--submision=a"], "Did you mean --submission?"),
        (["run", "", "out"], "IN is empty"), (["run", "in", ""], "OUT is empty"), (["inspect", ""], "path is empty"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    bundles: Path, runs: list[tuple[Path, dict[str, Any]]], arguments: list[str], error: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    _fails(2, *arguments)
    printed = capsys.readouterr().err
    assert error in printed and printed.count("\n") == 1 and runs == []


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    [
        ("submit manifest.csv out", "submitit", "cluster"),
        ("node --peers A@10.0.0.5 --send_to A@10.0.0.5:104 --aet CAD --port 11112 --spool spool", "pynetdicom", "node"),
        ("pull --dicomweb http://10.0.0.5 --study 1.2.3 --out out", "dicomweb_client", "node"),
    ],
)
def test_a_missing_package_is_refused_with_the_command_that_installs_it(
    command: str, package: str, extra: str, tmp_path: Path
) -> None:
    blocked = f"import sys; sys.modules['{package}'] = None; import lungcad.cli; lungcad.cli.main()"
    run = [sys.executable, "-c", blocked, *command.split()]
    done = subprocess.run(
        run, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(SCRIPTS)}, timeout=60
    )
    assert done.returncode == 2
    assert f"error[E-PACKAGE] {package.replace('_', '-')} is not installed." in done.stderr
    assert f"pip install 'lungcad[{extra}]'" in done.stderr


def test_missing_argument_exits_with_2(bundles: Path) -> None:
    _fails(2, "run", "in")


def test_bug_exits_with_1_and_debug_shows_where(
    bundles: Path, runs: list[tuple[Path, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("lungcad.bundle.launch.run_bundle", lambda *_: 1 / 0)
    _fails(1, "run", "in", "out")
    assert capsys.readouterr().err.startswith("internal error ZeroDivisionError")
    _fails(1, "run", "in", "out", "--debug", "false")
    assert "Traceback" not in capsys.readouterr().err
    _fails(1, "run", "in", "out", "--debug")
    assert "Traceback" in capsys.readouterr().err


def test_inspect_tells_usable_and_why_not(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    good = SeriesSummary("1.2.3", "Chest", "CT", 120, (0.7, 0.7, 1.25), (512, 512), usable=True)
    bad = SeriesSummary("1.2.4", "", "MR", 3, None, None, usable=False, code="E-NOT-CT", reason="modality MR.")
    monkeypatch.setattr("lungcad.dicom.list_series", lambda folder: [good, bad])
    cli.main(["inspect", "scans"])
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "series" and "0.70 x 0.70 x 1.25  usable" in first
    assert second.endswith("no: E-NOT-CT modality MR.")
    cli.main(["inspect", "scans", "--json"])
    assert [one["usable"] for one in json.loads(capsys.readouterr().out)] == [True, False]


def test_inspect_of_nothing_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _fails(2, "inspect", str(tmp_path))
    assert capsys.readouterr().err.startswith("error[E-NO-DICOM]")


@pytest.mark.shared_data
def test_inspects_a_real_series(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["inspect", str(shared / "data" / "ct" / "LIDC-IDRI-0001")])
    assert "CT" in (row := capsys.readouterr().out.splitlines()[1]) and row.endswith("0.70 x 0.70 x 2.50  usable")


def test_help_of_run_is_a_plain_page_with_the_chains_keys(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["run", "--help"])
    page = capsys.readouterr().out
    for key in ("--detector", "--reducer", "--characteriser", "--operating_point", "--leniency", "--dicom_results"):
        assert key in page
    assert "FIRE" not in page and "GROUP" not in page and "--run" not in page and "_target_" not in page
    assert max(map(len, page.splitlines())) <= 100 and "volume file in HU" in page
    cli.main(["run", "--bundle", "lung_nodule_malignancy_mtmrnet", "--help"])
    assert "--temperature" in capsys.readouterr().out
    _fails(2, "run", "--help", "--bundle", "nothing")


def test_a_script_has_the_manners_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(folder: str, workers: int = 1) -> None:
        raise RuntimeError(f"{folder!r} {workers!r}")

    for words, traced in (([], False), (["--debug"], True), (["--debug", "true"], True), (["--debug=false"], False)):
        monkeypatch.setattr(sys, "argv", ["scripts/a.py", "broken", "2024", *words, "--workers", "2"])
        with pytest.raises(SystemExit) as end:
            cli.run_script({"broken": broken})
        told = capsys.readouterr().err
        assert end.value.code == 1
        assert "internal error RuntimeError: '2024' 2; run with --debug true" in told  # a folder's name is a text
        assert ("Traceback" in told) == traced


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--worker", "3"], "unknown option: --worker. Did you mean --workers?"),
        (["--worker=3"], "Did you mean --workers?"),
        (["--size", "fill"], "--size is fill (expected full or small). Did you mean full?"),
    ],
)
def test_a_script_refuses_what_it_does_not_know_before_its_work(
    several: bool, words: list[str], error: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = []

    def make(folder: str, workers: int = 1, size: str = "full") -> None:
        one_of("size", size, ("full", "small"))
        done.append((folder, workers))

    component = {"make": make, "look": make} if several else make
    command = ["scripts/a.py", *(["make"] if several else []), "2024"]
    monkeypatch.setattr(sys, "argv", [*command, *words])
    with pytest.raises(SystemExit) as end:
        cli.run_script(component)
    printed = capsys.readouterr().err
    assert end.value.code == 2 and error in printed and printed.count("\n") == 1 and done == []
    monkeypatch.setattr(sys, "argv", [*command, "--workers", "2"])
    cli.run_script(component)
    assert done == [("2024", 2)]


def test_a_script_refuses_an_unknown_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["scripts/a.py", "mak", "2024"])
    with pytest.raises(SystemExit) as end:
        cli.run_script({"make": print, "look": print})
    assert end.value.code == 2
    assert "unknown command: mak (expected make, look). Did you mean make?" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["make", "--help"], ["make", "--", "--help"]])
def test_a_script_shows_its_help(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def make(folder: str, workers: int = 1) -> None:
        raise AssertionError("asked for help only")

    monkeypatch.setenv("PAGER", "cat")
    monkeypatch.setattr(sys, "argv", ["scripts/a.py", *words])
    with pytest.raises(SystemExit) as end:
        cli.run_script({"make": make})
    assert end.value.code == 0


def test_lists_are_read_however_they_are_written() -> None:
    assert listed("a, b,") == listed("[a,b]") == listed(("a", "b")) == ["a", "b"]
    assert listed(4) == ["4"] and listed("") == listed(()) == []


@pytest.mark.parametrize(
    ("flags", "value"),
    [([], False), (["--json"], True), (["--json", "true"], True), (["--json", "FALSE"], False), (["--json=0"], None)],
)
def test_a_switch_is_true_or_false_in_any_case(
    flags: list[str], value: bool | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def script(folder: str, json: bool = False) -> None:
        print((folder, json))

    monkeypatch.setattr(sys, "argv", ["script.py", "2020", *flags])
    if value is None:
        with pytest.raises(SystemExit) as end:
            cli.run_script(script)
        assert end.value.code == 2 and "error[E-CONFIG] json is 0 (expected true or false)" in capsys.readouterr().err
    else:
        cli.run_script(script)
        assert capsys.readouterr().out.strip() == str(("2020", value))
