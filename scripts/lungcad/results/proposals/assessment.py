# SPDX-License-Identifier: Apache-2.0
"""Category that a guideline would give to a result: proposed, with all that it takes for granted.

Without a known indication it is Lung-RADS v2022, as if the scan were a baseline screening CT; Fleischner 2017 only for
a scan with another indication than screening. Sources: :mod:`lungcad.guidelines`.
"""

from lungcad.results.proposals.by_fleischner import assess_by_fleischner
from lungcad.results.proposals.by_lung_rads import assess_by_lung_rads
from lungcad.results.proposals.proposal import Assessment, missing_for_category
from lungcad.results.result import Result


def assess(result: Result) -> Assessment | None:
    """Assessment by the reported findings; None where none of them was measured."""
    numbered = result.numbered
    if not any(finding.measurement for _, finding in numbered):
        return None
    missing = {number: missing_for_category(f"finding {number}", one.measurement, result.volume.spacing_mm[2])
               for number, one in numbered}  # fmt: skip
    by_guideline = assess_by_fleischner if result.indication == "incidental" else assess_by_lung_rads
    return by_guideline(result, numbered, missing)
