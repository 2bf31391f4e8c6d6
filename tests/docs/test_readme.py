# SPDX-License-Identifier: Apache-2.0
"""READMEs fit a screen's width, and what they link to exists."""

import re
from pathlib import Path

import pytest
from small_cases import ROOT

PAGES = [ROOT / "README.md", ROOT / "scripts" / "README.md", ROOT / ".github" / "CONTRIBUTING.md"]


def test_the_first_page_has_at_most_120_lines_of_100_columns() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 120
    assert [line for line in lines if len(line) > 100] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files_of_the_repository(page: Path) -> None:
    text = page.read_text()
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r"^\[[^]]+\]: (\S+)", text, re.M)
    local = [target for target in targets if not target.startswith("http")]
    assert local and [target for target in local if not (page.parent / target).exists()] == []


def test_scripts_that_the_pages_name_exist() -> None:
    text = "".join(page.read_text() for page in PAGES)
    named = set(re.findall(r"scripts/[\w/]+\.(?:py|sh|txt)", text))
    assert named and [name for name in sorted(named) if not (ROOT / name).is_file()] == []
