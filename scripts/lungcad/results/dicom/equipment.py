# SPDX-License-Identifier: Apache-2.0
"""Equipment module of the DICOM results: the algorithm as their maker, and the header that all objects share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from highdicom import AlgorithmIdentificationSequence
from highdicom.enum import ContentQualificationValues
from highdicom.sr import AlgorithmIdentification

from lungcad.results.dicom.codes import NEURAL_NETWORK, concept
from lungcad.results.dicom.uids import derived_uid

MANUFACTURER = "lungcad"


@dataclass(frozen=True)
class Algorithm:
    """Chain of networks that found the nodules, as DICOM describes an algorithm.

    Attributes:
        name, version: name and version of the first bundle of nodules.json, the chain itself.
        settings: versions of its stages, and the operating point, each as text.
        software: version of the package lungcad.
        weights: SHA-256 of the weights by bundle, as text.
    """

    name: str
    version: str
    settings: list[str]
    software: str
    weights: str = ""

    @classmethod
    def from_document(cls, document: Mapping[str, Any], weights_sha256: Mapping[str, str] | None = None) -> "Algorithm":
        """Algorithm of a document of nodules.json; other weights make it another algorithm."""
        (name, version), *stages = document["software"]["bundles"].items()
        point = document["operating_point"]
        reported = f"reported from {document['thresholds'][point]:g} ({point})"
        settings = [f"{stage} {number}" for stage, number in stages] + [reported]
        weights = ",".join(f"{bundle}={digest}" for bundle, digest in sorted((weights_sha256 or {}).items()))
        return cls(name, version, settings, document["software"]["lungcad"], weights)

    @property
    def device_uid(self) -> str:
        """UID of the chain as a device: the same for the same version on every machine."""
        return derived_uid("device", self.name, self.version)

    def for_report(self) -> AlgorithmIdentification:
        """Describe the algorithm as content of a report (TID 4019)."""
        return AlgorithmIdentification(self.name, self.version, self.settings)

    def for_segment(self) -> AlgorithmIdentificationSequence:
        """Describe the algorithm as an attribute of a segment."""
        settings = {str(number): text for number, text in enumerate(self.settings, start=1)}
        return AlgorithmIdentificationSequence(self.name, concept(NEURAL_NETWORK), self.version, MANUFACTURER, settings)


def object_header(algorithm: Algorithm, key: str, series_number: int, description: str) -> dict[str, Any]:
    """Arguments of highdicom that all objects share: a new series with one instance, the maker, for research only.

    Args:
        algorithm: chain that found the nodules.
        key: see :func:`lungcad.results.dicom.uids.object_key`; the UIDs follow from it and the series number.
        series_number: number of the new series, one for each kind of object.
        description: description of the new series, to which chain and version are added.
    """
    return {
        "series_instance_uid": derived_uid("series", str(series_number), key),
        "sop_instance_uid": derived_uid("instance", str(series_number), key),
        "series_number": series_number, "instance_number": 1,
        "series_description": f"{description}, {algorithm.name} {algorithm.version}"[:64],
        "manufacturer": MANUFACTURER, "manufacturer_model_name": algorithm.name,
        "software_versions": (algorithm.version, f"lungcad {algorithm.software}"), "device_serial_number": "none",
        "content_qualification": ContentQualificationValues.RESEARCH, "specific_character_set": "ISO_IR 192",
    }  # fmt: skip
