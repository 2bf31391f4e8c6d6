# SPDX-License-Identifier: Apache-2.0
"""Pages fit a screen's width, and what they link to exists."""

import re
from pathlib import Path

import pytest
from small_cases import ROOT

ENTRANCES = [ROOT / "README.md", ROOT / "scripts" / "README.md", ROOT / ".github" / "CONTRIBUTING.md"]
PAGES = [*ENTRANCES, *sorted(ROOT.glob("bundles/*/docs/*.md")), ROOT / "scripts" / "deploy" / "README.md",
         ROOT / "scripts" / "lungcad" / "guidelines" / "README.md"]  # fmt: skip

RULE = re.compile(r" *\|(:?-{3,}:?\|)+")
"""Line between the head of a table and its rows."""


def test_the_first_page_has_at_most_120_lines_of_100_columns() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 120
    assert [line for line in lines if len(line) > 100] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files_of_the_repository(page: Path) -> None:
    text = page.read_text()
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r"^\[[^]]+\]: (\S+)", text, re.M)
    local = [target for target in targets if not target.startswith("http")]
    assert [target for target in local if not (page.parent / target).exists()] == []
    assert local or page not in ENTRANCES


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_tables_have_a_line_below_their_head_and_as_many_cells_in_each_row(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    assert [line for line in prose.splitlines() if "|---" in line and not RULE.fullmatch(line)] == []
    for table in re.findall(r"(?:^ *\|.*\n)+", prose, flags=re.M):
        head, rule, *rows = table.splitlines()
        assert RULE.fullmatch(rule) and rows, head
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in (head, *rows)} == {rule.count("|")}, head


def test_every_page_of_the_chain_is_linked_from_its_readme() -> None:
    docs = ROOT / "bundles" / "lung_nodule_cad" / "docs"
    text = (docs / "README.md").read_text()
    assert [page.name for page in docs.glob("*.md") if page.name != "README.md" and f"({page.name})" not in text] == []


def test_every_script_is_in_the_map() -> None:
    text = (ROOT / "scripts" / "README.md").read_text()
    assert [path.name for path in (ROOT / "scripts").glob("*.*") if path.suffix in (".py", ".sh")
            and f"`{path.name}`" not in text] == []  # fmt: skip


def test_scripts_that_the_pages_name_exist() -> None:
    text = "".join(page.read_text() for page in ENTRANCES)
    named = set(re.findall(r"scripts/[\w/]+\.(?:py|sh|txt)", text))
    assert named and [name for name in sorted(named) if not (ROOT / name).is_file()] == []
