# SPDX-License-Identifier: Apache-2.0
"""Writer of run.json: inputs, versions, device, seconds and checksums of one run; no path, nothing on the patient."""

import platform
from pathlib import Path
from typing import Any

from lungcad.results.nodules_json import package_version, write_json
from lungcad.results.result import Result
from lungcad.volume import Volume

_PACKAGES = ("torch", "monai", "numpy", "pydicom")


def write_run_json(folder: Path, result: Result) -> None:
    """Write run.json into a folder."""
    write_json(folder / "run.json", run_document(result))


def run_document(result: Result) -> dict[str, Any]:
    """Document of run.json.

    Only the kind of file is kept of the input's path, since folders are often named after patients.

    Returns:
        ``inputs``, ``versions``, ``bundles``, ``device``, ``seconds`` by stage, ``weights_sha256`` by bundle; of a
        batch ``fingerprint``.
    """
    volume = result.volume
    return {
        "inputs": {"kind": _kind(volume), "series_uid": volume.public_uid, "slices": volume.hu.shape[2]},
        "versions": {
            "python": platform.python_version(),
            **{name: package_version(name) for name in ("lungcad", *_PACKAGES)},
        },
        "bundles": dict(result.bundles),
        "device": result.device,
        "seconds": {stage: round(float(seconds), 3) for stage, seconds in result.seconds.items()},
        "weights_sha256": dict(result.weights_sha256),
        **({"fingerprint": result.fingerprint} if result.fingerprint else {}),
    }


def _kind(volume: Volume) -> str:
    """Kind of a volume's source: array, file or DICOM series."""
    from lungcad.reading.volume_file import volume_suffix

    if volume.origin is None:
        return "array"
    suffix = volume_suffix(volume.origin.path)
    return f"{suffix} file" if suffix and not volume.sop_instance_uids else "DICOM series"
