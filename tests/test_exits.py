# SPDX-License-Identifier: Apache-2.0
import io
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from lungcad import InputError
from lungcad.exits import guarded

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


def run(code: str, **options: Any) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)} | options.pop("environment", {})
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env=environment, **options)  # fmt: skip


STOPPED = """
    import signal, sys, time
    from pathlib import Path
    from lungcad.atomic import replaced_folder
    from lungcad.exits import guarded, one_line_errors

    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs without it

    def work():
        with replaced_folder(Path({folder!r}) / "1.2.3", mark="nodules.json") as folder:
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
        from lungcad.exits import guarded
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
        from lungcad.errors import InputError
        from lungcad.exits import guarded
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
