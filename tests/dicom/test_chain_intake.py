# SPDX-License-Identifier: Apache-2.0
"""What the chain makes of the intake's choices and warnings."""

from collections.abc import Sequence
from pathlib import Path

import pydicom
import pytest
from small_cases import CPU, small_bundles, small_chest

from lungcad.chain.cad import NoduleCAD
from lungcad.chain.chain import Chain
from lungcad.chain.stage import BundleStage
from lungcad.finding import Finding
from lungcad.phantom import write_series
from lungcad.scan.scan import Scan


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundles(tmp_path_factory.mktemp("bundles"))


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    hu, affine = small_chest()
    return write_series(tmp_path / "series", hu.round(), affine)


def told_by(bundles: Path, folder: Path, out: Path, **options: object) -> tuple[str, str]:
    """Texts of nodules.json and of the report."""
    made = Chain("dou2017", None, None, CPU, thresholds={"balanced": 0.5}, bundles_dir=bundles, measurer=None)
    chain = NoduleCAD(made, str(folder), str(out), **options)  # type: ignore[arg-type]
    result = chain.run()
    return (result / "nodules.json").read_text(), (result / "report.html").read_text()


def test_a_series_that_grows_while_it_is_analysed_is_told(
    bundles: Path, series: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def growing(stage: BundleStage, scan: Scan, findings: Sequence[Finding] = ()) -> list[Finding]:
        (series[0].parent / "IM9999.dcm").write_bytes(series[0].read_bytes())
        return []

    monkeypatch.setattr(BundleStage, "__call__", growing)
    for text in told_by(bundles, series[0].parent, tmp_path / "out"):
        assert "W-CHANGED" in text and "1 file(s) came, 0 went, 0 changed" in text


@pytest.mark.parametrize("acquisition", [7, "7"])
def test_the_chain_takes_an_acquisition(
    bundles: Path, series: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acquisition: object
) -> None:
    for file in series:
        again = pydicom.dcmread(file)
        again.AcquisitionNumber, again.SOPInstanceUID = 7, again.SOPInstanceUID[:-1]
        again.RescaleIntercept = "-1000"
        again.save_as(file.with_name(f"again{file.name}"))
    monkeypatch.setattr(BundleStage, "__call__", lambda *_: [])
    text, _ = told_by(bundles, series[0].parent, tmp_path / "out", acquisition=acquisition)
    assert f"{len(series)} image(s) of other acquisitions left out" in text and "W-CHANGED" not in text
