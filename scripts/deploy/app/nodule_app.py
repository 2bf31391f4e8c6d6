# SPDX-License-Identifier: Apache-2.0
"""Application for MONAI Deploy: loader, chain, and writers of structured report, segmentation and other results."""

import sys
import tempfile
from pathlib import Path

from monai.deploy.core import Application
from operators import NoduleChainOperator, SeriesLoaderOperator, WriterOperator
from packed import packed_chain

WRITERS = {
    "report_writer": ("nodules.sr.dcm",),
    "segmentation_writer": ("nodules.seg.dcm",),
    "results_writer": ("nodules.json", "nodules.csv", "report.html", "run.json"),
}
"""Names of the chain's result files, by the operator that writes them."""


class NoduleApp(Application):
    """Application that finds lung nodules in one chest CT series.

    Args:
        chain: folder of the packed chain, with its ``lungcad`` on Python's path.
        input_path: folder with DICOM files.
        output_path: folder in which a folder named after the series is made.
        work: empty folder for intermediate results.
    """

    def __init__(self, chain: Path, input_path: Path, output_path: Path, work: Path) -> None:
        self.chain, self.input_path, self.output_path, self.work = chain, input_path, output_path, work
        super().__init__()

    def compose(self) -> None:
        """Connect the operators."""
        loader = SeriesLoaderOperator(self, input_path=self.input_path, name="series_loader")
        nodules = NoduleChainOperator(self, chain=self.chain, work=self.work, name="nodule_chain")
        self.add_flow(loader, nodules, {("series", "series")})
        for name, files in WRITERS.items():
            writer = WriterOperator(self, names=files, output_path=self.output_path, name=name)
            self.add_flow(nodules, writer, {("results", "results")})


def main() -> None:
    """Run on ``-i``, ``-o`` and ``-m``, or on a container's variables: exit code 0 done, 2 refused, 1 a bug."""
    context = Application.init_app_context(sys.argv)
    chain = packed_chain(Path(context.model_path))
    sys.path.insert(0, str(chain))

    from lungcad.bundle.manifest import check_pack
    from lungcad.exits import guarded

    guarded(check_pack)
    with tempfile.TemporaryDirectory() as work:
        app = NoduleApp(chain, Path(context.input_path), Path(context.output_path), Path(work))
        guarded(app.run)
