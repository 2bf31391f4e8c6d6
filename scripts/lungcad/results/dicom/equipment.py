# SPDX-License-Identifier: Apache-2.0
"""Who made the objects, and what makes two objects different: the same words and fresh UIDs for each of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from highdicom import AlgorithmIdentificationSequence
from highdicom.enum import ContentQualificationValues
from highdicom.sr import AlgorithmIdentification
from pydicom.uid import generate_uid

from lungcad.results.dicom.codes import NEURAL_NETWORK, concept

MANUFACTURER = "lungcad"


@dataclass(frozen=True)
class Algorithm:
    """The chain that found the nodules.

    Attributes:
        name, version: of the first bundle of nodules.json, the chain itself.
        settings: versions of its stages, and the operating point.
        software: version of the package.
    """

    name: str
    version: str
    settings: list[str]
    software: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Algorithm":
        """Read it from nodules.json."""
        (name, version), *stages = document["software"]["bundles"].items()
        point = document["operating_point"]
        reported = f"reported from {document['thresholds'][point]:g} ({point})"
        settings = [f"{stage} {number}" for stage, number in stages] + [reported]
        return cls(name, version, settings, document["software"]["lungcad"])

    @property
    def device_uid(self) -> str:
        """The same for the same version everywhere."""
        return str(generate_uid(entropy_srcs=[MANUFACTURER, self.name, self.version]))

    def for_report(self) -> AlgorithmIdentification:
        """As content of a report (TID 4019)."""
        return AlgorithmIdentification(self.name, self.version, self.settings)

    def for_segment(self) -> AlgorithmIdentificationSequence:
        """As an attribute of a segment."""
        settings = {str(number): text for number, text in enumerate(self.settings, start=1)}
        return AlgorithmIdentificationSequence(self.name, concept(NEURAL_NETWORK), self.version, MANUFACTURER, settings)


def object_header(algorithm: Algorithm, series_number: int, description: str) -> dict[str, Any]:
    """Arguments that every object takes: a new series with one instance, the maker, for research only."""
    return {
        "series_instance_uid": generate_uid(prefix=None), "sop_instance_uid": generate_uid(prefix=None),
        "series_number": series_number, "instance_number": 1, "series_description": description,
        "manufacturer": MANUFACTURER, "manufacturer_model_name": algorithm.name,
        "software_versions": (algorithm.version, f"lungcad {algorithm.software}"), "device_serial_number": "none",
        "content_qualification": ContentQualificationValues.RESEARCH, "specific_character_set": "ISO_IR 192",
    }  # fmt: skip
