# SPDX-License-Identifier: Apache-2.0
import base64
import hashlib
import io
import re
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_case import CENTER_LPS_MM, DIAMETER_MM, RUN, ball_volume, some_findings, write_results
from scipy.spatial.transform import Rotation

from lungcad import Finding, Volume
from lungcad.geometry import to_world
from lungcad.results.page.pictures import (
    nearest_lps_order,
    plane_picture,
    projection_picture,
    slice_picture,
    window_to_grey,
)
from lungcad.scan.location import side_of_body


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_results(tmp_path_factory.mktemp("out"), ball_volume(), some_findings(), **RUN)
    return (folder / "report.html").read_text(encoding="utf-8")


def _views(html: str) -> list[tuple[np.ndarray, str]]:
    """Every picture's pixels with the SVG over it."""
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)".*?(<svg.*?</svg>)', html, flags=re.DOTALL)
    return [(np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))), svg) for png, svg in found]


def _finding_views(html: str, number: int) -> list[tuple[np.ndarray, str]]:
    return _views(html.split(f'id="finding-{number}"')[1].split("</section>")[0])


def test_circle_has_the_true_diameter_in_pixels(page: str) -> None:
    # The ball itself is the ruler: what is brighter than half way (-225 HU: grey 191) has the circle's size and place.
    planes = _finding_views(page, 1)[1:]
    assert len(planes) == 3
    for pixels, svg in planes:
        width_mm = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
        x, y, radius = map(float, re.search(r'<circle .* cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"', svg).groups())
        per_mm = pixels.shape[1] / width_mm
        assert 2 * radius == DIAMETER_MM
        rows, columns = np.nonzero(pixels > 191)
        near = np.hypot(columns + 0.5 - x * per_mm, rows + 0.5 - y * per_mm) < 1.4 * radius * per_mm
        assert 2 * np.sqrt(near.sum() / np.pi) == pytest.approx(2 * radius * per_mm, rel=0.06)
        center = (columns[near].mean() + 0.5, rows[near].mean() + 0.5)
        assert center == pytest.approx((x * per_mm, y * per_mm), abs=0.6 * per_mm)  # voxels of 1.1 to 2.5 mm


def test_scale_bar_is_ten_millimetres(page: str) -> None:
    _, svg = _finding_views(page, 1)[1]
    start, end = map(float, re.search(r'class="bar" x1="([\d.]+)" x2="([\d.]+)"', svg).groups())
    assert end - start == pytest.approx(10) and "10 mm" in svg


def test_orientation_letters(page: str) -> None:
    letters = [re.findall(r">([RLAPHF])</text>", svg) for _, svg in _finding_views(page, 1)]
    assert letters == [list("RLAP"), list("RLAP"), list("RLHF"), list("APHF")]


def test_says_what_it_must(page: str) -> None:
    for text in (
        "Research use only. Not a medical device.", "3 nodules at or above 0.5 (balanced)", "Limitations",
        "level −600, width 1500 HU", "W-SPACING", "slices 2.5 mm apart", "70.0, −12.0, 33.0", "Slice 38 of 48",
        "image 11", "Spiculation", "lungcad 0.1.0",
        "lung_nodule_cad 0.1.0", "balanced 0.5", "1 further candidate below 0.5",
    ):  # fmt: skip
        assert text in page, text


def test_one_offline_file(page: str) -> None:
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:|#)|https?:|url\(|@import|<link|<iframe", page)


def test_its_policy_lets_only_its_own_scripts_run_and_loads_nothing(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts}
    assert len(scripts) == 2 and hashes == set(re.findall(r"'sha256-[^']+'", policy))
    assert "default-src 'none'" in policy and "'unsafe-inline'" not in policy.split("script-src")[1]
    assert not re.search(r"<[^>]* on\w+=", page)  # the policy would not run them


def test_foreign_text_is_escaped(page: str) -> None:
    assert "Chest &lt;b&gt;1.0&lt;/b&gt; &amp; co" in page


def test_every_picture_has_words(page: str) -> None:
    assert page.count("<img ") == 2 + 3 * 4  # overview, and four for each finding above the threshold
    assert all(len(words) > 20 for words in re.findall(r'<img [^>]*alt="([^"]*)"', page))


def test_unknown_diameter_has_no_circle(page: str) -> None:
    views = _finding_views(page, 4)  # the fourth has no probability, and the detection score 0.7
    assert len(views) == 4 and not any("<circle" in svg for _, svg in views)


def test_pictures_are_limited_and_the_file_stays_small(tmp_path: Path) -> None:
    many = [Finding((60 + i, -20 + i, 1.0 * i), 5.0, 0.9, 0.9 - 0.01 * i) for i in range(15)]
    folder = write_results(tmp_path, ball_volume(), many, **RUN)
    html = (folder / "report.html").read_text()
    assert html.count('<section class="card"') == 12 and "first 12" in html
    assert len(html) < 3e6


def test_window_ends_are_black_and_white() -> None:
    assert window_to_grey(np.array([-3000.0, -1350.0, -600.0, 150.0, 3000.0])).tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("tilt_deg", [0, 20])
def test_planes_do_not_depend_on_how_the_scan_is_stored(order: tuple[int, int, int], tilt_deg: float) -> None:
    # A smooth blob off the centre must look the same from any grid that holds it.
    turn = np.radians(tilt_deg)
    rotation = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    affine = np.eye(4)
    affine[:3, :3] = (rotation * [1.0, -1.0, 1.5])[:, order]
    affine[:3, 3] = -affine[:3, :3] @ [30, 30, 30]
    world = to_world(affine, np.stack(np.meshgrid(*[np.arange(61)] * 3, indexing="ij"), axis=-1))
    hu = (800 * np.exp(-(((world - [6, -4, 2]) / [4, 6, 5]) ** 2).sum(axis=-1)) - 900).astype(np.float32)
    for plane, (u, v) in {"axial": (6, -4), "coronal": (6, -2), "sagittal": (-4, -2)}.items():
        pixels = plane_picture(Volume(hu, affine, "1.2"), (0, 0, 0), plane, 40.0, 80).pixels
        row, column = np.argwhere(pixels == pixels.max()).mean(axis=0)
        assert ((column + 0.5) / 2 - 20, (row + 0.5) / 2 - 20) == pytest.approx((u, v), abs=0.3)


def test_marks_sit_on_the_ball_in_slice_and_projections() -> None:
    volume = ball_volume()
    without = Volume(np.where(volume.hu == 400, -850, volume.hu), volume.affine, "1.2")
    for draw in (lambda v: slice_picture(v, CENTER_LPS_MM), *(lambda v, a=a: projection_picture(v, a) for a in (0, 1))):
        view = draw(volume)
        change = view.picture.pixels.astype(float) - draw(without).picture.pixels
        rows, columns = np.nonzero(change > 0.5 * change.max())
        per_mm = view.picture.pixels.shape[1] / view.picture.width_mm
        seen = ((columns.mean() + 0.5) / per_mm, (rows.mean() + 0.5) / per_mm)
        assert view.position_mm(CENTER_LPS_MM) == pytest.approx(seen, abs=1.5)  # slices are 2.5 mm apart


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((-1, 1), repeat=3)))
def test_nearest_lps_order_keeps_every_voxel_in_place(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (30, -20, 25), degrees=True).as_matrix()[:, list(order)] * signs
    affine[:3, 3] = 7, -8, 9
    stored = Volume(np.arange(24, dtype=np.float32).reshape(2, 3, 4), affine, "1.2")
    hu, turned = nearest_lps_order(stored)
    assert np.array_equal(np.abs(turned[:3, :3]).argmax(axis=0), range(3)) and (np.diag(turned) > 0).all()
    for value, index in enumerate(np.ndindex(2, 3, 4)):
        (place,) = np.argwhere(hu == value)
        assert to_world(turned, place) == pytest.approx(to_world(affine, np.array(index)))


@pytest.mark.parametrize(("x", "side"), [(70.0, "left"), (-70.0, "right"), (12.0, None)])
def test_side_is_told_only_where_it_is_sure(x: float, side: str | None) -> None:
    assert side_of_body(ball_volume(), (x, 0.0, 0.0)) == side


def test_scan_of_air_alone_still_gives_a_report(tmp_path: Path) -> None:
    volume = Volume(np.full((8, 8, 8), -1024, np.float32), np.eye(4), "air")
    assert (write_results(tmp_path, volume, [Finding((3, 3, 3))], **RUN) / "report.html").is_file()
