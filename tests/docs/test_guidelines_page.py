# SPDX-License-Identifier: Apache-2.0
"""The results that the page of guidelines prints are those of the functions."""

import ast
import re

import pytest
from small_cases import ROOT

import lungcad.guidelines

PAGE = ROOT / "bundles" / "lung_nodule_cad" / "docs" / "guidelines.md"
ROWS = re.findall(r"\| `([^`]+\(.+)` \| `([^`]+)` \|$", PAGE.read_text(), re.M)


def test_every_row_has_a_call_and_a_result() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert len(ROWS) == len(rows) - 2 == 18  # two headings


@pytest.mark.parametrize(("call", "result"), ROWS)
def test_a_row_prints_what_its_call_returns(call: str, result: str) -> None:
    names = {name: getattr(lungcad.guidelines, name) for name in lungcad.guidelines.__all__}
    assert eval(call, names) == ast.literal_eval(result)
