# SPDX-License-Identifier: Apache-2.0
import io
import os
import re
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_case import ball_volume, some_findings

from lungcad import InputError
from lungcad.console import StageClock, bar, findings_table, guarded, header_lines

SCRIPTS = Path(__file__).parents[1] / "scripts"


def _wrapped() -> None:
    """Bad input as a library hands it on: wrapped, and wrapped again while handling it."""
    try:
        try:
            raise InputError("E-NO-DICOM", "no DICOM file.", "Give a folder.")
        except InputError as error:
            raise RuntimeError("applying transform") from error
    except RuntimeError:
        raise KeyError("stage")  # noqa: B904 - only the context links them


def test_bad_input_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        guarded(_wrapped)
    assert end.value.code == 2
    assert capsys.readouterr().err == "error[E-NO-DICOM] no DICOM file. Give a folder.\n"


def test_bug_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        guarded(lambda: {}["a\nb"])
    error = capsys.readouterr().err
    assert end.value.code == 1
    assert error.count("\n") == 1 and error.startswith("internal error KeyError") and "--debug true" in error


@pytest.mark.parametrize("debug", [True, "true"])
def test_debug_shows_the_traceback(debug: bool | str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        guarded(_wrapped, debug=debug)
    assert "Traceback" in capsys.readouterr().err


def test_guarded_gives_the_result_and_lets_exits_pass() -> None:
    assert guarded(max, 1, 2) == 2
    with pytest.raises(SystemExit) as end:
        guarded(exit, 0)
    assert end.value.code == 0


def test_stage_lines_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    stages = StageClock()
    with stages("detect") as stage:
        stage.note = "38 candidates"
    with stages("write"):
        pass
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"detect        38 candidates +0\.0 s", first)
    assert len(first) == len(second) and "38" not in second
    assert list(stages.seconds) == ["detect", "write"]


def test_bar_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(bar(range(3), "detect", "slab")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_table_is_aligned_and_unknown_is_a_dash() -> None:
    lines = findings_table(some_findings(), "4 nodules").splitlines()
    assert lines[0] == "4 nodules" and lines[1].split() == ["#", "lps_mm", "diam_mm", "nodule", "malignancy"]
    assert len({len(line) for line in lines[1:]}) == 1
    assert lines[2].split() == ["1", "-60.0", "0.0", "0.0", "-", "0.70", "-"]
    assert lines[4].split()[-2:] == ["0.75", "0.50"] and max(map(len, lines)) <= 80
    assert findings_table([], "no nodule at or above 0.5") == "no nodule at or above 0.5"


def test_table_has_malignancy_only_where_it_is_known() -> None:
    unknown = [replace(one, malignancy_probability=None) for one in some_findings()]
    lines = findings_table(unknown, "4 nodules").splitlines()
    assert lines[1].split() == ["#", "lps_mm", "diam_mm", "nodule"] and lines[2].split()[-1] == "0.70"
    assert len({len(line) for line in lines[1:]}) == 1


def test_header_tells_version_series_and_spacing() -> None:
    lines = header_lines(ball_volume(), bundles={"lung_nodule_cad": "0.1.0"}, device="cpu", output="out").splitlines()
    assert len(lines) == 5 and "48 slices, 1.20 x 1.10 x 2.50 mm" in lines[3]


def run(code: str, **options: Any) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)} | options.pop("environment", {})
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env=environment, **options)  # fmt: skip


STOPPED = """
    import signal, sys, time
    from pathlib import Path
    from lungcad.atomic import replaced_folder
    from lungcad.console import guarded, one_line_errors

    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs without it

    def work():
        with replaced_folder(Path({folder!r}) / "1.2.3", ours="nodules.json") as folder:
            (folder / "nodules.json").write_text("half")
            print("ready", flush=True)
            time.sleep(60)

    {how}
"""


@pytest.mark.parametrize("how", ["guarded(work)", "one_line_errors(); work()"])
@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_stopped_run_says_so_and_leaves_nothing(
    tmp_path: Path, how: str, number: signal.Signals, code: int, word: str
) -> None:
    with run(STOPPED.format(folder=str(tmp_path), how=how)) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (code, f"{word}\n")
    assert list(tmp_path.iterdir()) == []


def test_output_that_nobody_reads_ends_quietly() -> None:
    code = """
        from lungcad.console import guarded
        def many():
            for number in range(100_000):
                print("line", number)
        guarded(many)
    """
    with run(code) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        error = process.stderr.read()
        process.wait(timeout=30)
    assert (process.returncode, error) == (141, "")


def test_output_that_cannot_be_written_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(SystemExit) as end:
        guarded(lambda: None)
    assert end.value.code == 2 and capsys.readouterr().err.startswith("error[E-OUTPUT] The output cannot be written")


def test_streams_that_the_caller_closed_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    guarded(print, "result")
    with pytest.raises(SystemExit) as end:
        guarded(lambda: 1 / 0)
    assert end.value.code == 1


def test_a_terminal_that_knows_ascii_only_shows_escapes() -> None:
    code = """
        from lungcad.console import guarded
        from lungcad.errors import InputError
        def tell():
            print("Thorax f\\xfcr \\xc4rzte")
            raise InputError("E-NO-DICOM", "Stra\\xdfe")
        guarded(tell)
    """
    with run(code, environment={"PYTHONIOENCODING": "ascii"}) as process:
        output, error = process.communicate(timeout=30)
    assert process.returncode == 2 and "f\\xfcr" in output and "Stra\\xdfe" in error


def test_refusals_are_one_printable_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        guarded(_refuse)
    assert capsys.readouterr().err == "error[E-NO-DICOM] scan [31m forged line.\n"


def _refuse() -> None:
    raise InputError("E-NO-DICOM", "scan \x1b[31m\nforged line.")
