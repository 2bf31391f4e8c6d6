# SPDX-License-Identifier: Apache-2.0
"""One study by DICOMweb: found (QIDO-RS), fetched (WADO-RS), analysed, and its results stored (STOW-RS)."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.config import disable_value_validation

from lungcad.dicom import choose_best
from lungcad.errors import InputError
from lungcad.node.logs import log
from lungcad.node.sender import SendError, WebDestination
from lungcad.node.spool import is_uid
from lungcad.node.work import Analyse, result_files
from lungcad.reading.volume_file import read_volume
from lungcad.results.write import write, writers_for

AS_STORED = (("application/dicom", "*"),)
"""Media type of objects in the transfer syntax in which the archive has them."""


def fetch_study(client: Any, study_uid: str, folder: Path, series_uid: str | None = None) -> int:
    """Fetch the CT series of a study into a folder.

    Args:
        client: client of dicomweb-client.
        study_uid: StudyInstanceUID.
        folder: empty folder for the images.
        series_uid: one series; None for all of modality CT.

    Returns:
        number of images.

    Raises:
        InputError: E-DICOMWEB, the archive fails, or has no such study or no CT in it.
    """
    with web_errors("the study cannot be found"):
        found = client.search_for_series(study_uid, search_filters={"Modality": "CT"})
    series = [str(entry["0020000E"]["Value"][0]) for entry in found]
    series = [uid for uid in series if series_uid in (None, uid)]
    if not series:
        raise InputError("E-DICOMWEB", "the archive has no such CT.", "Check --study and --series.")
    count = 0
    with web_errors("the images cannot be fetched"), disable_value_validation():
        for uid in series:
            for dataset in client.iter_series(study_uid, uid, media_types=AS_STORED):
                count += 1
                dataset.save_as(folder / f"{count:06d}.dcm", enforce_file_format=True)
    log.info("fetched %d images of %d series", count, len(series))
    return count


def analyse_fetched(chain: Analyse, images: Path, output_dir: Path, leniency: Mapping[str, Any],
                    dicom_results: bool | str = True) -> Path:  # fmt: skip
    """Analyse the best series of fetched images; return the folder of its results, see :func:`lungcad.write`.

    Raises:
        InputError: no series can be used, or whatever the chain refuses; E-OUTPUT.
    """
    best = choose_best(images, **leniency)
    log.info("chosen: series %s: %s", best.uid, best.reason)
    result = chain(read_volume(images, best.uid, **leniency))
    log.info("%s", result.summary)
    return write(result, output_dir, writers_for(dicom_results))


def store_results(destination: WebDestination, folder: Path) -> list[str]:
    """Store the DICOM objects of a result, but those that the archive has; return the names of those stored.

    Raises:
        InputError: E-DICOMWEB, the archive did not take one; E-NO-REPORT, there is none.
    """
    files = result_files(folder)
    if not files:
        raise InputError("E-NO-REPORT", "no report could be written.", "Look at the images' identifiers.")
    stored = []
    for file in files:
        header = dcmread(file, stop_before_pixels=True)
        with web_errors("the results cannot be looked up"):
            stored_before = destination.client.search_for_instances(
                str(header.StudyInstanceUID), search_filters={"SOPInstanceUID": str(header.SOPInstanceUID)}
            )
        if stored_before:
            log.info("the archive has %s already", file.name)
            continue
        try:
            stored += [taken.name for taken in destination.send([file])]
        except SendError as error:
            raise InputError("E-DICOMWEB", f"the results cannot be stored: {error}.", "Run it again.") from error
    return stored


def check_study(uid: str) -> str:
    """StudyInstanceUID as given; raises InputError E-USAGE for anything else."""
    if not is_uid(uid):
        raise InputError("E-USAGE", f"--study is {uid} (expected a StudyInstanceUID).")
    return uid


@contextlib.contextmanager
def web_errors(what: str) -> Iterator[None]:
    """Turn a failure of the archive or of the connection into InputError E-DICOMWEB."""
    import requests

    try:
        yield
    except requests.HTTPError as error:
        code = error.response.status_code if error.response is not None else "without a code"
        raise InputError("E-DICOMWEB", f"{what}: HTTP {code}.", "Check --dicomweb and the archive's rights.") from error
    except requests.RequestException as error:
        text = f"{what}: {type(error).__name__}."
        raise InputError("E-DICOMWEB", text, "Check --dicomweb: is the archive up?") from error
