# SPDX-License-Identifier: Apache-2.0
"""Entry point of the intake: a path to one validated CT volume."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lungcad.dicom.discover import Found, checked_path, find_objects
from lungcad.dicom.geometry import NOT_AXIAL_DEGREES, TILT_DEGREES
from lungcad.dicom.grouped import Series
from lungcad.dicom.leniency import Leniency
from lungcad.dicom.lost import State, change_notices, folder_state
from lungcad.dicom.pixels import decode_stack
from lungcad.dicom.plan import Plan, make_plan
from lungcad.dicom.plausible import check_hu
from lungcad.dicom.quiet import quiet
from lungcad.dicom.rank import BEST, choose_best
from lungcad.dicom.regrid import straighten, to_axial_order
from lungcad.dicom.select import choose_series, dropped_notices
from lungcad.dicom.wording import printable_description
from lungcad.volume import Notice, Origin, Volume


@dataclass(frozen=True)
class BegunSeries:
    """Series that passed the checks of its headers; no pixel has been decoded yet.

    Attributes:
        path: path as the caller gave it.
        options: exceptions to the strict rules.
        given: options as the caller gave them, the acquisition among them.
        before: sizes and times of the files before they were read.
        found, series, plan: objects under the path, the chosen series, and its stack.
        chosen: notice N-CHOSEN, where the series was chosen for the caller.
    """

    path: Path
    options: Leniency
    given: dict[str, Any]
    before: State
    found: Found
    series: Series
    plan: Plan
    chosen: list[Notice]

    @property
    def voxels(self) -> int:
        """Number of voxels that :meth:`decode` fills."""
        layout = self.plan.first.format
        return len(self.plan.stack.groups) * layout.rows * layout.columns

    @property
    def is_single(self) -> bool:
        """Whether no two images share a place, so that decoding cannot change which of them stands for it."""
        return all(len(group) == 1 for group in self.plan.stack.groups)

    def is_unchanged(self) -> bool:
        """Whether the files under the path still have the sizes and times that they had."""
        return self.before == folder_state(self.path)

    def decode(self, out: np.ndarray | None = None) -> Volume:
        """Decode the pixels, and check their values.

        Args:
            out: (voxels,) float32 to decode into; None for a new array.

        Raises:
            DicomSeriesError: E-PIXELS, E-SIZE, E-GEOM-DUP, E-HU-RANGE.
        """
        with quiet():
            hu, statistics = decode_stack(self.plan.stack.groups, out)
            notices = self.chosen + self.found.notices + dropped_notices(self.found, self.series, self.options)
            notices += self.plan.notices + check_hu(hu, statistics, self.plan.stack.groups)
            notices += change_notices(self.before, self.path)
            volume = _make_volume(self.series, self.plan, hu.transpose(2, 1, 0), notices)
        volume.origin = Origin(self.path, self.given, self)
        return volume


def read_series(
    path: str | os.PathLike[str], series_uid: str | None = None, acquisition: str | None = None, **leniency: Any
) -> Volume:
    """Read one CT series as a volume in Hounsfield units, or refuse it with a coded reason.

    The table in ``docs/intake.md`` of the bundle ``lung_nodule_cad`` lists every kind of input with its verdict.
    Nothing is dropped, filled in or averaged silently.

    Args:
        path: folder (searched with its sub-folders), DICOMDIR, or one multi-frame file.
        series_uid: SeriesInstanceUID; needed where the folder holds several CT series. ``best`` takes the most suitable
            one (:func:`lungcad.dicom.choose_best`) and says why in a notice N-CHOSEN.
        acquisition: label from :func:`lungcad.dicom.list_series`, mostly the AcquisitionNumber; needed where the series
            holds several acquisitions that overlap.
        **leniency: see :class:`lungcad.dicom.Leniency`: ``allow_derived``, ``assume_hu``, ``correct_tilt``,
            ``allow_non_axial``, ``max_spacing_mm``, ``min_slices``, ``memory_limit_bytes``.

    Returns:
        a volume: ``hu`` (X, Y, Z) float32, ``affine`` index to LPS mm, ``warnings``.

    Raises:
        DicomSeriesError: the input is refused; ``code`` says why.
        InputError: E-CONFIG (unknown option, or a value out of bounds).
    """
    return begin_series(path, series_uid, acquisition, **leniency).decode()


def begin_series(
    path: str | os.PathLike[str], series_uid: str | None = None, acquisition: str | None = None, **leniency: Any
) -> BegunSeries:
    """Check the headers of one CT series; arguments and errors as for :func:`read_series`."""
    options = Leniency.from_options(leniency)
    given = leniency if acquisition is None else {"acquisition": acquisition, **leniency}
    before = folder_state(checked_path(path))
    chosen = []
    if series_uid == BEST:
        best = choose_best(path, **leniency)
        series_uid = best.uid
        chosen = [Notice("N-CHOSEN", f"the most suitable series: {best.reason}.")]
    found = find_objects(path)
    with quiet():
        series = choose_series(found, series_uid, options)
        plan = make_plan(series, options, acquisition)
    return BegunSeries(Path(path), options, given, before, found, series, plan, chosen)


def _make_volume(series: Series, plan: Plan, hu: Any, notices: list[Notice]) -> Volume:
    """Make the volume of decoded HU (X, Y, Z), with the changes of grid that were allowed."""
    stack, header = plan.stack, plan.first.header
    affine = stack.affine
    pieces = [pieces[0] for pieces in stack.groups]
    if stack.tilt_degrees > TILT_DEGREES:
        hu, affine = straighten(hu, affine)
        notices.append(Notice("W-TILT", f"resampled to undo a gantry tilt of {stack.tilt_degrees:.1f} degrees."))
    if stack.steep_degrees > NOT_AXIAL_DEGREES:
        hu, affine = to_axial_order(hu, affine)
        pieces = []  # Z no longer runs along the source's slices
        notices.append(Notice("W-NOT-AXIAL", "axes permuted; findings cannot name a source slice."))
    return Volume(
        hu=hu,
        affine=affine,
        series_uid=series.uid,
        sop_instance_uids=tuple(piece.header.text("SOPInstanceUID") for piece in pieces),
        instance_numbers=tuple(piece.number for piece in pieces),
        study_uid=header.text("StudyInstanceUID"),
        frame_of_reference_uid=header.text("FrameOfReferenceUID"),
        description=printable_description(header),
        warnings=notices,
    )
