# SPDX-License-Identifier: Apache-2.0
"""UIDs derived from the contents of an object, so that a retry makes the same object again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydicom.uid import generate_uid

from lungcad.finding import FindingMask


def derived_uid(*about: str) -> str:
    """UID that is the same for the same texts on every machine."""
    return str(generate_uid(entropy_srcs=["\0".join(("lungcad", *about))]))


def finding_key(entry: Mapping[str, Any], mask: FindingMask | None) -> str:
    """Text that is the same for the same finding of nodules.json with the same mask."""
    text = json.dumps({key: value for key, value in entry.items() if key != "slice"}, sort_keys=True)
    if mask is None:
        return text
    pixels = hashlib.sha256(mask.mask.tobytes() + mask.affine.tobytes()).hexdigest()
    return f"{text} {mask.mask.shape} {pixels}"


def object_key(instances: Sequence[Any], algorithm: Any, findings: Sequence[str]) -> str:
    """Text that is the same for the same images, algorithm and findings.

    Args:
        instances: data sets of the instances of the series.
        algorithm: chain with its settings and weights.
        findings: keys of the reported findings, see :func:`finding_key`.
    """
    images = [str(instance.SOPInstanceUID) for instance in instances]
    parts = [str(instances[0].SeriesInstanceUID), *images, repr(algorithm), *findings]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
