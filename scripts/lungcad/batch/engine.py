# SPDX-License-Identifier: Apache-2.0
"""Engine of a worker: a chain that is loaded once, with reading before it and writing behind it."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lungcad.atomic import check_replaceable
from lungcad.batch.manifest import Item
from lungcad.chain.settings import load_chain
from lungcad.console import StageClock
from lungcad.dicom.lost import folder_state, warn_of_changes
from lungcad.options import options_by_name
from lungcad.reading.volume_file import read_volume
from lungcad.results.write import MARK, folder_name, write, writers_for
from lungcad.scan.scan import Scan
from lungcad.volume import Volume


class Engine:
    """Warm chain that writes the results of one series after the other.

    Args:
        settings: settings of :func:`lungcad.chain.settings.chain_settings`.
        out: output folder.

    Raises:
        InputError: E-CONFIG, E-BUNDLE or E-WEIGHTS, the chain cannot be loaded.
    """

    def __init__(self, settings: Mapping[str, Any], out: Path) -> None:
        self.chain = load_chain(settings)
        self.leniency = options_by_name("leniency", settings["leniency"])
        self.writers = writers_for(settings["dicom_results"])
        self.out = out
        self._dicom = threading.Lock()
        """Held while DICOM is read or written: pydicom's validation is switched for the whole process."""

    def read(self, item: Item) -> Volume:
        """Read a series, while another may be in the networks.

        Raises:
            InputError: whatever the intake refuses; E-OUTPUT, a folder of that name holds other data.
        """
        check_replaceable(self.out / folder_name(item.series_uid), mark=MARK)
        with self._dicom:
            return read_volume(item.folder, item.own_uid, **self.leniency)

    def finish(self, item: Item, volume: Volume, fingerprint: str) -> dict[str, float]:
        """Find the nodules of a volume and write the results.

        Returns:
            Seconds by step.

        Raises:
            InputError: whatever the stages refuse; E-OUTPUT, the results cannot be written.
        """
        scan, clock, before = Scan(volume), StageClock(silent=True), folder_state(item.folder)
        with clock("lungs"):
            _ = scan.lungs
        findings = self.chain.find(scan, clock)
        warn_of_changes(volume, before, item.folder)
        result = self.chain.result(scan, findings, self.chain.thresholds, clock.seconds)
        with clock("report"), self._dicom:
            write(replace(result, fingerprint=fingerprint), self.out, self.writers)
        return clock.seconds
