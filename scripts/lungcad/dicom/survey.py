# SPDX-License-Identifier: Apache-2.0
"""Survey of one folder of an archive: verdict on each series, and what its rank within its study depends on."""

import os
from dataclasses import dataclass
from typing import Any

from lungcad.dicom.damaged import check_damaged
from lungcad.dicom.discover import find_objects
from lungcad.dicom.grouped import group_by_series
from lungcad.dicom.leniency import Leniency
from lungcad.dicom.listing import SeriesSummary, summarise
from lungcad.dicom.quiet import quiet
from lungcad.dicom.rank import Usable, find_usable


@dataclass(frozen=True)
class Surveyed:
    """Series of a folder.

    Attributes:
        summary: its verdict.
        study_uid: StudyInstanceUID, empty where missing.
        usable: properties for :func:`lungcad.dicom.rank.rank_usable`; None where the series is refused.
    """

    summary: SeriesSummary
    study_uid: str
    usable: Usable | None


def survey_folder(path: str | os.PathLike[str], subfolders: bool = False, **leniency: Any) -> list[Surveyed]:
    """Survey the series in a folder, reading every header once; one bad series does not hide the others.

    Args:
        path: folder.
        subfolders: search the sub-folders too.
        **leniency: as for :func:`lungcad.dicom.read_series`.

    Raises:
        DicomSeriesError: E-NO-DICOM, E-ARCHIVE, E-CORRUPT (no series can be listed).
    """
    options = Leniency.from_options(leniency)
    found = find_objects(path, subfolders)
    if not found.headers:
        check_damaged(found, "")
    usable = {series.uid: series for series in find_usable(found, options)}
    with quiet():
        return [
            Surveyed(summarise(series, found, options), series.all[0].text("StudyInstanceUID"), usable.get(series.uid))
            for series in group_by_series(found)
        ]
