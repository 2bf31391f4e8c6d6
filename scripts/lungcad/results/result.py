# SPDX-License-Identifier: Apache-2.0
"""Result of a chain, or of one bundle on its own, on one scan: the input of all writers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.options import check_operating_point
from lungcad.printable import printable
from lungcad.volume import Notice, Volume

if TYPE_CHECKING:
    from lungcad.scan.lungs import LungMask

INDICATIONS = ("screening", "incidental")
"""Indications of a scan that a guideline asks for."""


@dataclass(frozen=True)
class Result:
    """Result: findings of one scan and the circumstances under which they were made.

    Attributes:
        volume: the scan, with all warnings about it.
        findings: findings, ranked by :func:`rank_findings` whatever their order was; may be empty.
        thresholds: lowest reported probability by name of the operating point.
        operating_point: operating point in use, a key of ``thresholds``.
        bundles: versions by name of the bundle, the chain's own first.
        device: device of the networks, such as ``cpu`` or ``cuda:0 (NVIDIA H200)``.
        seconds: duration by stage.
        weights_sha256: SHA-256 of the weights by name of the bundle.
        earlier: folder of an earlier result of the scan, which this one replaces; None without one.
        fingerprint: SHA-256 of input, settings, weights and version, by which a batch knows its own results; empty
            outside a batch.
        lungs: lungs of the scan, over which the report shows slices; None for the whole scan.
        indication: one of :data:`INDICATIONS`, as its user tells; None where it is not known.

    Raises:
        InputError: E-CONFIG, there is no such operating point or indication.
    """

    volume: Volume
    findings: Sequence[Finding]
    thresholds: Mapping[str, float]
    operating_point: str
    bundles: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    seconds: Mapping[str, float] = field(default_factory=dict)
    weights_sha256: Mapping[str, str] = field(default_factory=dict)
    earlier: Path | None = None
    fingerprint: str = ""
    lungs: "LungMask | None" = field(default=None, repr=False, compare=False)
    indication: str | None = None

    def __post_init__(self) -> None:
        check_operating_point(self.operating_point, self.thresholds)
        check_indication(self.indication)
        object.__setattr__(self, "findings", rank_findings(self.findings))

    @property
    def threshold(self) -> float:
        """Lowest reported probability."""
        return float(self.thresholds[self.operating_point])

    @property
    def numbered(self) -> list[tuple[int, Finding]]:
        """Reported findings with their ids, which count all findings from 1; see :func:`is_reported`."""
        each = enumerate(self.findings, start=1)
        return [(number, finding) for number, finding in each if is_reported(finding.score, self.threshold)]

    @property
    def reported(self) -> list[Finding]:
        """Reported findings: those at or above the operating point, and those of unknown probability."""
        return [finding for _, finding in self.numbered]

    @property
    def warnings(self) -> list[Notice]:
        """Warnings and notes about the scan."""
        return self.volume.warnings

    @property
    def summary(self) -> str:
        """Summary in words, such as ``2 nodules at or above 0.6 (balanced)``."""
        count = len(self.reported)
        number = "no nodule" if count == 0 else "1 nodule" if count == 1 else f"{count} nodules"
        return f"{number} at or above {self.threshold:g} ({self.operating_point})"


def is_reported(score: float | None, threshold: float) -> bool:
    """Whether a finding of a score is reported: at or above the threshold, or not scored at all."""
    return score is None or score >= threshold


def rank_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Sort findings by nodule probability, then detection score, highest first, unknown last."""

    def key(value: float | None) -> float:
        return np.inf if value is None else -value

    return sorted(findings, key=lambda finding: (key(finding.nodule_probability), key(finding.detection_score)))


def check_indication(indication: object) -> None:
    """Refuse an indication that is neither None nor one of :data:`INDICATIONS`; raises InputError E-CONFIG."""
    if indication is not None and indication not in INDICATIONS:
        expected = f"expected null, {' or '.join(INDICATIONS)}"
        raise InputError("E-CONFIG", f"indication is {printable(indication, 80)} ({expected}).")
