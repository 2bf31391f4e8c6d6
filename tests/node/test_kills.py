# SPDX-License-Identifier: Apache-2.0
"""A node that is killed ten times between receiving, analysing and sending: nothing lost, one report."""

import json
from pathlib import Path

from small_pacs import ARCHIVE, LOOPBACK, Archive, send_through_ten_kills, small_study


def test_killed_ten_times_the_node_loses_nothing_and_reports_once(tmp_path: Path) -> None:
    archive = Archive()
    send_through_ten_kills(small_study(), tmp_path, f"{ARCHIVE}@{LOOPBACK}:{archive.port}")
    archive.stop()
    assert len(archive.reports) == 1 and set(archive.taken.values()) == {2}  # killed before it could note the first
    (record,) = (tmp_path / "done").iterdir()
    assert json.loads(record.read_text())["outcome"] == "reported"
    assert not any((tmp_path / "studies").iterdir()) and not any((tmp_path / "receiving").iterdir())
