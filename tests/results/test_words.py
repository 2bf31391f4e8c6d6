# SPDX-License-Identifier: Apache-2.0
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from report_case import RUN, ball_volume, some_findings, write_results

from lungcad import Finding
from lungcad.results.words import MALIGNANCY_LIMITATION, MALIGNANCY_MEANING, report_entry

Render = Callable[..., str]


@pytest.fixture
def render(tmp_path: Path) -> Render:
    """Page of findings, as a text without breaks and with plain quotes."""

    def page(findings: Sequence[Finding], bundle: str = "lung_nodule_cad") -> str:
        folder = write_results(tmp_path, ball_volume(), findings, **RUN | {"bundles": {bundle: "0.1.0"}})
        html = (folder / "report.html").read_text(encoding="utf-8").replace("&#39;", "'")
        return " ".join(html.split())

    return page


def _card(page: str, number: int) -> str:
    return page.split(f'id="finding-{number}"')[1].split("</section>")[0]


def _without_malignancy() -> list[Finding]:
    return [replace(one, malignancy_probability=None, attributes=None) for one in some_findings()]


def test_attributes_stand_in_words_beside_their_numbers(render: Render) -> None:
    card = _card(render(some_findings()), 1)
    told = re.findall(r"<span>([^<]+)</span><span class=\"word\"><b>([^<]+)</b> ([\d.]+)</span>", card)
    assert told == [
        ("Subtlety", "obvious", "4.5"), ("Internal structure", "soft tissue", "1.0"),
        ("Calcification", "absent", "6.0"), ("Sphericity", "ovoid/round", "4.0"), ("Margin", "near sharp", "4.2"),
        ("Lobulation", "nearly none", "1.5"), ("Spiculation", "nearly none", "2.0"), ("Texture", "solid", "5.0"),
    ]  # fmt: skip


def test_categories_have_no_bar(render: Render) -> None:
    scales = _card(render(some_findings()), 1).split('class="scales')[1]
    assert scales.count('class="meter"') == 6 and scales.count("are kinds, not degrees") == 2


def test_bar_stays_within_its_scale() -> None:
    entry = replace(some_findings()[3], attributes={"margin": 0.4, "lobulation": 5.2, "texture": 2.0}).as_dict()
    assert [one["share"] for one in report_entry(entry)["scales"]] == [0.0, 1.0, 0.25]


def test_page_tells_what_malignancy_means(render: Render) -> None:
    page = render(some_findings())
    assert MALIGNANCY_MEANING in page and MALIGNANCY_LIMITATION in page
    assert "not pathology" in _card(page, 1)


def test_page_without_malignancy_does_not_speak_of_it(render: Render) -> None:
    page = render(_without_malignancy())
    assert "alignan" not in page and "not assessed" not in page.lower() and 'class="scales' not in page


def test_finding_without_malignancy_is_not_assessed(render: Render) -> None:
    page = render(some_findings())  # of the three above the threshold, the last has none
    table = page.split('class="num summary"')[1].split("</table>")[0]
    rows = table.split("<tbody>")[1].split("</tr>")[:3]
    assert ["not assessed" in row for row in rows] == [False, False, True]
    assert "0.80" in rows[0] and "0.50" in rows[1]
    assert "not assessed" in _card(page, 4) and "not assessed" not in _card(page, 1) + _card(page, 2)
    assert 'class="scales' not in _card(page, 4)


@pytest.mark.parametrize("bundle", ["lung_nodule_malignancy_mtmrnet", "lung_nodule_joint_jnsc"])
def test_no_finding_assessed_is_told_where_a_bundle_that_judges_malignancy_ran(render: Render, bundle: str) -> None:
    page = render(_without_malignancy(), bundle)
    assert page.count("not assessed") == 2 * 3  # table and cards
    assert MALIGNANCY_MEANING not in page and MALIGNANCY_LIMITATION not in page  # no number needs them


def test_malignancy_of_a_candidate_below_the_threshold_is_not_explained(render: Render) -> None:
    below = Finding((-50.0, 10.0, -20.0), 4.5, 0.9, 0.25, 0.7)
    page = render([*_without_malignancy(), below])
    assert MALIGNANCY_MEANING not in page and "not assessed" in page


def test_empty_page_says_nothing_of_malignancy(render: Render) -> None:
    page = render([], "lung_nodule_malignancy_mtmrnet")
    assert "Malignancy" not in page and "not assessed" not in page.lower()
