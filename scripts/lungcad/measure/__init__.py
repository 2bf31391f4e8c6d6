# SPDX-License-Identifier: Apache-2.0
"""Measurement of nodules: masks from a network's output, axes, volume, kind, calcification and location.

A stage ``measure`` of the chain segments and measures; :func:`measure_findings` and :func:`measure_at` make it measure
at given places, whatever their probability, such as a nodule's place in a prior scan.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from lungcad.finding import Finding
from lungcad.scan.scan import Scan

Stage = Callable[[Scan, Sequence[Finding]], list[Finding]]
"""Stage of a chain: ``Chain().stages["measure"]``, or :class:`lungcad.chain.stage.BundleStage` of the bundle alone."""


def measure_findings(scan: Scan, findings: Sequence[Finding], stage: Stage) -> list[Finding]:
    """Measure findings whatever their probability.

    Args:
        scan: volume and lungs.
        findings: findings; centre, diameter (None takes a small nodule) and, if known, attributes are used.
        stage: stage that measures.

    Returns:
        The findings with mask, volume, measurement and location of the stage; all None where it outlines no nodule
        within 4 mm of the centre.

    Raises:
        InputError: E-NO-LUNG.
    """
    bare = [Finding(finding.center_lps_mm, finding.diameter_mm, attributes=finding.attributes) for finding in findings]
    measured = stage(scan, bare)
    return [
        replace(old, volume_mm3=new.volume_mm3, measurement=new.measurement, location=new.location, mask=new.mask)
        for old, new in zip(findings, measured, strict=True)
    ]


def measure_at(scan: Scan, center_lps_mm: Sequence[float], stage: Stage, diameter_mm: float | None = None) -> Finding:
    """Measure at one place; see :func:`measure_findings`.

    Args:
        scan: volume and lungs.
        center_lps_mm: (x, y, z) in LPS mm.
        stage: stage that measures.
        diameter_mm: expected diameter, by which the size of the network's input is chosen.
    """
    x, y, z = map(float, center_lps_mm)
    return measure_findings(scan, [Finding((x, y, z), diameter_mm)], stage)[0]
