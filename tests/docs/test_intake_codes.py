# SPDX-License-Identifier: Apache-2.0
"""intake.md lists every code that a run can end with or note, and none that nothing raises."""

import re
from pathlib import Path

import lungcad

PACKAGE = Path(lungcad.__file__).parent
CODE = re.compile(r"\b(?:E|W|N)-[A-Z0-9]+(?:-[A-Z0-9]+)*\b")
RESEARCH = {"training", "papers", "datalists", "lidc", "scores", "tables.py", "guidelines"}
"""Rooms whose own codes concern tables and trainings, not a scan that is run."""


def codes_in_source() -> dict[str, set[str]]:
    """Code to the rooms whose string literals hold it."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for literal in re.findall(rf"""["'{{ ]({CODE.pattern[2:-2]})\b""", path.read_text()):
            found.setdefault(literal, set()).add(path.relative_to(PACKAGE).parts[0])
    return found


def test_intake_md_and_the_source_have_the_same_codes() -> None:
    text = (PACKAGE.parents[1] / "bundles" / "lung_nodule_cad" / "docs" / "intake.md").read_text()
    listed, source = set(CODE.findall(text)), codes_in_source()
    assert sorted(listed - set(source)) == []
    assert {code: rooms for code, rooms in source.items() if code not in listed and not rooms <= RESEARCH} == {}


def test_a_code_stands_for_something() -> None:
    assert {"E-GEOM-SPACING", "E-NO-LUNG", "W-COVERAGE", "N-DROPPED"} <= set(codes_in_source())
