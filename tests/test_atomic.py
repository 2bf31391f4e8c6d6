# SPDX-License-Identifier: Apache-2.0
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lungcad.atomic import check_output, remove_left_overs, replaced_folder, whole_file
from lungcad.errors import InputError

SCRIPTS = Path(__file__).parents[1] / "scripts"
NAMES = {"nodules.json", "report.html"}


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "name.npz"
    with whole_file(path) as part:
        part.write_text("first")
        assert not path.exists()
    with pytest.raises(RuntimeError), whole_file(path) as part:
        part.write_text("hal")
        raise RuntimeError
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def make(target: Path, text: str) -> None:
    with replaced_folder(target, mark="nodules.json", names=NAMES) as folder:
        (folder / "nodules.json").write_text(text)


def test_files_of_others_in_a_result_stay(tmp_path: Path) -> None:
    target = tmp_path / "1.2.3"
    make(target, "first")
    (target / "notes.txt").write_text("mine")
    (target / "crops").mkdir()
    (target / "crops" / "a.png").write_text("picture")
    (target / "report.html").write_text("of the first run")
    make(target, "second")
    assert (target / "nodules.json").read_text() == "second"
    assert (target / "notes.txt").read_text() == "mine" and (target / "crops" / "a.png").read_text() == "picture"
    assert not (target / "report.html").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["1.2.3"]


def test_what_a_killed_process_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    half = tmp_path / ".1.2.3.0123abcd.new"
    half.mkdir()
    (half / "nodules.json").write_text("half a result")
    aside = tmp_path / ".1.2.4.0123abcd.old"
    aside.mkdir()
    (aside / "nodules.json").write_text("an earlier result, not yet replaced")
    done = tmp_path / ".1.2.5.0123abcd.old"
    done.mkdir()
    (done / "nodules.json").write_text("replaced")
    (done / "notes.txt").write_text("mine")
    make(tmp_path / "1.2.5", "new")
    strangers = [tmp_path / ".config.json", tmp_path / ".other.0123abcd.new"]
    for stranger in strangers:
        stranger.mkdir()
        (stranger / "something").write_text("of others")
    remove_left_overs(tmp_path, NAMES)
    assert not half.exists() and not aside.exists() and not done.exists() and all(one.exists() for one in strangers)
    assert (tmp_path / "1.2.4" / "nodules.json").read_text().startswith("an earlier")
    assert (tmp_path / "1.2.5" / "nodules.json").read_text() == "new"
    assert (tmp_path / "1.2.5" / "notes.txt").read_text() == "mine"


def test_a_folder_that_another_process_fills_is_left_alone(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from lungcad.atomic import replaced_folder
with replaced_folder(Path({str(tmp_path)!r}) / "1.2.3", mark="nodules.json") as folder:
    (folder / "nodules.json").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as other:
        assert other.stdout is not None and other.stdout.readline() == "ready\n"
        remove_left_overs(tmp_path, NAMES)
        assert len(list(tmp_path.iterdir())) == 1
        other.send_signal(signal.SIGKILL)
    time.sleep(0.1)
    remove_left_overs(tmp_path, NAMES)
    assert list(tmp_path.iterdir()) == []


def test_the_output_is_tried_without_a_trace(tmp_path: Path) -> None:
    check_output(tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path / "file", tmp_path / "file" / "folder", Path("/proc/nothing")):
        with pytest.raises(InputError, match="E-OUTPUT"):
            check_output(wrong)
