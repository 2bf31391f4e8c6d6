# SPDX-License-Identifier: Apache-2.0
"""The report as a viewer: its data and its colours, and what a browser makes of it where Chromium is installed."""

import base64
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import chromium
import numpy as np
import pytest
from PIL import Image
from report_case import RUN, ball_volume, measured_ball, some_findings

from lungcad import Finding
from lungcad.results.page.environment import asset, page_environment
from lungcad.results.page.report import render_report
from lungcad.results.result import Result

NAMES = ("ink", "soft", "line", "edge", "paper", "wash", "accent", "warn", "warn-edge")


@pytest.fixture(scope="module")
def result() -> Result:
    """The measured ball, a finding without a measurement, one of unknown size, and a candidate."""
    ball = replace(measured_ball(), attributes=some_findings()[3].attributes, malignancy_probability=0.8)
    return Result(ball_volume(), [ball, *some_findings()[:3]], **RUN)


@pytest.fixture(scope="module")
def page(result: Result) -> str:
    return render_report(result)


def _data(page: str) -> dict[str, Any]:
    return json.loads(re.search(r'<script type="application/json" data-part="data">(.*?)</script>', page, re.S)[1])


def test_data_hold_a_picture_for_every_slice(page: str) -> None:
    data = _data(page)
    assert len(data["pixels"]) == len(data["slices"]) == len(data["images"]) == len(data["z"]) == data["count"] == 48
    picture = Image.open(io.BytesIO(base64.b64decode(data["pixels"][20])))
    assert picture.size == (data["columns"], data["rows"]) and picture.mode == "L"
    assert (data["width"], data["height"], data["step"]) == pytest.approx((216 * 1.2, 176 * 1.1, 2.5))


def test_marks_hold_place_size_outline_and_axes(page: str) -> None:
    ball, second, unknown, candidate = _data(page)["marks"]
    assert [mark["reported"] for mark in (ball, second, unknown, candidate)] == [True, True, True, False]
    assert ball["level"] == pytest.approx(37.2) and ball["radius"] == 10 and unknown["radius"] is None
    slices = [int(number) for number in ball["paths"]]
    assert (min(slices), max(slices)) == (34, 41)  # within 10 mm of z = 33 mm, slices 2.5 mm apart
    assert ball["paths"]["37"].count("M") == 3 and ball["paths"]["36"].count("M") == 1  # outline and two axes
    assert second["paths"] == candidate["paths"] == {}


def test_cards_draw_outline_and_axes_where_there_is_a_mask(page: str) -> None:
    first, second = (page.split(f'id="finding-{number}"')[1].split("</section>")[0] for number in (1, 2))
    assert first.count('<path class="ring mark" d="M') == 3 and first.count('class="axes mark"') == 1
    assert "<circle" not in first and second.count("<circle") == 3 and 'class="axes' not in second
    assert "20.0 × 16.0 mm" in first and "4189 mm³" in first and "Solid 18.0 mm, upper third of the left lung" in first


def test_doubts_stand_beside_the_measurement(result: Result) -> None:
    doubtful = render_report(replace(result, findings=[measured_ball(doubts=("slices too thick",))]))
    assert "Measurement in doubt:</b> slices too thick." in doubtful and "in doubt</span>" in doubtful


def test_comparison_column_only_where_a_prior_was_read(result: Result, page: str) -> None:
    assert "Prior</th>" not in page
    compared = render_report(result, {number: f"{number}.5 mm" for number in range(1, 4)} | {4: ""})
    assert "Prior</th>" in compared and "<td>2.5 mm</td>" in compared


def test_many_findings_and_foreign_text_stay_in_their_place(result: Result) -> None:
    odd = replace(result.volume, description="</script><script>alert(1)</script>", series_uid="1.2</textarea>")
    page = render_report(Result(odd, [Finding((60 + i, 0.0, 0.0), 5.0, 0.9, 0.9) for i in range(120)], **RUN))
    assert page.count("<script") == page.count("</script>") == 3 and page.count("</textarea>") == 1


def test_every_control_has_a_name(page: str) -> None:
    html = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert html.count("<h1") == 1 and '<html lang="en">' in html
    for tag, attributes, text in re.findall(r"<(button|select|canvas|a)\b([^>]*)>(.*?)</\1>", html, re.S):
        assert re.sub(r"<[^>]*>|\s", "", text) or "aria-label=" in attributes, (tag, attributes)
    for attributes in re.findall(r"<(?:input|textarea)\b([^>]*)>", html):
        identity = re.search(r'id="([^"]*)"', attributes)
        wrapped = 'type="checkbox"' in attributes  # within its label
        assert wrapped or "aria-label=" in attributes or f'for="{identity[1]}"' in html, attributes
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    assert {target for target in re.findall(r'href="#([^"]*)"', html)} <= set(ids)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    values = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _contrast(one: str, other: str) -> float:
    """Contrast by WCAG 2.2."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_have_the_contrast_of_wcag_aa() -> None:
    blocks = re.findall(r"(:root[^{]*)\{([^}]*)\}", str(asset(page_environment(), "page.css")))
    assert len(blocks) == 3
    for selector, text in blocks:
        colours = {name: re.search(rf"--{name}: (#\w+)", text)[1] for name in NAMES}
        for ground in ("paper", "wash", "warn"):
            for ink in ("ink", "soft") if ground == "warn" else ("ink", "soft", "accent"):
                assert _contrast(colours[ink], colours[ground]) >= 4.5, (selector, ink, ground)
        for edge in ("edge", "accent"):  # what shows that a thing is a control, and the focus
            assert min(_contrast(colours[edge], colours[ground]) for ground in ("paper", "wash")) >= 3, selector
    assert blocks[1][1] == blocks[2][1]  # dark by the switch is dark by the reader's setting


@pytest.fixture(scope="module")
def browser(page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    if chromium.PROGRAM is None:
        pytest.skip("Chromium is not installed")
    folder = tmp_path_factory.mktemp("browser")
    (folder / "report.html").write_text(page, encoding="utf-8")
    with chromium.Browser(folder / "profile") as found:
        found.emulate(1200, 900)
        found.open(folder / "report.html")
        found.wait_for(f"{ROOT}.dataset.drawn === '37'")
        yield found


ROOT = "document.querySelector('[data-viewer]')"
GREY = """(() => {{ const c = document.querySelector('canvas'); const [x, y] =
  [{x} / 259.2 * c.width, {y} / 193.6 * c.height];
  return c.getContext('2d').getImageData(Math.floor(x), Math.floor(y), 1, 1).data[0]; }})()"""
BALL, LUNG = {"x": 199.8, "y": 86.5}, {"x": 178.0, "y": 86.5}
"""Places in mm from the upper left corner: columns begin at x = -129.2 mm, rows at y = -98.55 mm."""


def _where(browser: chromium.Browser) -> str:
    return browser.evaluate(f"{ROOT}.querySelector('[data-part=where]').textContent")


def test_page_opens_on_the_first_finding_and_loads_nothing(browser: chromium.Browser) -> None:
    assert browser.problems() == []
    assert _where(browser) == "Slice 38 of 48, image 11, z 32.5 mm"
    assert browser.evaluate(f"{ROOT}.querySelectorAll('svg .path').length") == 1
    assert browser.evaluate("document.querySelector('canvas').ariaLabel").endswith(
        "finding 1. Lung window: level −600, width 1500 HU"
    )


def test_windows_show_the_true_densities(browser: chromium.Browser) -> None:
    lung = [browser.evaluate(GREY.format(**place)) for place in (BALL, LUNG)]
    assert lung[0] == 255 and lung[1] == pytest.approx((-850 + 600 + 750) * 255 / 1500, abs=4)
    browser.evaluate(f"{ROOT}.querySelector('[data-window=soft]').click()")
    soft = [browser.evaluate(GREY.format(**place)) for place in (BALL, LUNG)]
    assert soft == [255, 0]
    browser.evaluate(f"{ROOT}.querySelector('[data-window=lung]').click()")


def test_keys_wheel_and_finger_turn_the_slices(browser: chromium.Browser) -> None:
    browser.evaluate(f"{ROOT}.querySelector('[data-part=slider]').focus()")
    numbers = []
    for key in ("Home", "ArrowUp", "PageUp", "ArrowDown", "End", "ArrowLeft", "p", "n"):
        browser.key(key)
        numbers.append(browser.evaluate(f"{ROOT}.viewer.number"))
    assert numbers[:6] == [0, 1, 11, 10, 47, 46]
    assert numbers[6:] == [37, 24]  # from the head: the ball, then round to the finding nearest to the feet
    x, y = browser.evaluate(f"(() => {{ const r = {ROOT}.querySelector('[data-part=stage]').getBoundingClientRect();"
                            "scrollBy(0, r.top - 100); return [r.left + 200, 300]; })()")  # fmt: skip
    browser.evaluate(f"{ROOT}.viewer.show(30)")
    browser.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=240)
    browser.wait_for(f"{ROOT}.viewer.number === 27")  # towards the feet
    browser.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
    browser.call("Input.dispatchTouchEvent", type="touchMove", touchPoints=[{"x": x, "y": y - 100}])
    browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    browser.wait_for(f"{ROOT}.viewer.number > 30")


def test_row_leads_to_its_slice_and_back(browser: chromium.Browser) -> None:
    browser.evaluate("document.querySelector('#row-2 [data-show]').click()")
    browser.wait_for(f"{ROOT}.dataset.drawn === '26'")
    assert browser.evaluate("document.activeElement.type") == "range"
    back = f"{ROOT}.querySelector('li[aria-current=true] a')"
    assert browser.evaluate(f"{back}.hash") == "#row-2"
    candidate = "document.querySelector('details [data-show]')"
    assert browser.evaluate(f"{candidate}.hidden") is False
    browser.evaluate(f"{candidate}.click()")
    assert browser.evaluate(f"{ROOT}.querySelectorAll('.candidate').length") == 1


def test_slab_is_a_maximum_projection(browser: chromium.Browser) -> None:
    # 45 mm from the ball's centre it is gone; within 12.5 mm a slab of 10 mm still holds its edge.
    browser.evaluate(f"{ROOT}.viewer.show(42)")
    browser.wait_for(f"{ROOT}.dataset.drawn === '42'")
    alone = browser.evaluate(GREY.format(**BALL))
    browser.evaluate(f"(() => {{ const s = {ROOT}.querySelector('select'); s.value = '10';"
                     "s.dispatchEvent(new Event('change')); })()")  # fmt: skip
    browser.wait_for(f"{GREY.format(**BALL)} === 255")
    assert alone < 120
    assert browser.evaluate(f"{ROOT}.querySelectorAll('svg .path').length") == 1  # not one outline over the other
    assert "MIP of 5 slices" in browser.evaluate(f"{ROOT}.querySelector('[data-part=setting]').textContent")


def test_marks_can_be_hidden_everywhere(browser: chromium.Browser) -> None:
    browser.evaluate(f"{ROOT}.viewer.mark(1)")
    marks = f"{ROOT}.querySelectorAll('svg .path, svg .ring').length"
    opacity = "getComputedStyle(document.querySelector('.card .mark')).opacity"
    assert browser.evaluate(marks) > 0 and browser.evaluate(opacity) == "1"
    browser.evaluate(f"{ROOT}.querySelector('[data-part=slider]').focus()")
    browser.key("m")
    assert browser.evaluate(marks) == 0 and browser.evaluate(opacity) == "0"
    browser.key("m")


def test_switch_of_colours_and_copy(browser: chromium.Browser) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = browser.evaluate(ground)
    browser.evaluate("document.querySelector('[data-theme-switch]').click()")
    assert browser.evaluate(ground) != light
    browser.evaluate("document.querySelector('[data-theme-switch]').click()")
    assert browser.evaluate(ground) == light
    browser.evaluate("document.querySelector('[data-copy]').click()")
    browser.wait_for("document.getElementById('ris-told').textContent !== ''")
    assert browser.evaluate("getSelection().toString() || document.activeElement.value").startswith("Computer-aided")


def test_phone_and_paper(browser: chromium.Browser, tmp_path: Path) -> None:
    browser.emulate(390, 844, phone=True)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    browser.emulate(1200, 900)
    browser.pdf(tmp_path / "report.pdf")
    pdf = (tmp_path / "report.pdf").read_bytes()
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert 2 <= len(boxes) <= 4 and {(round(float(w)), round(float(h))) for w, h in boxes} <= {(595, 842), (594, 841)}
    assert browser.problems() == []
