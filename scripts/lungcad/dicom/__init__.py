# SPDX-License-Identifier: Apache-2.0
"""DICOM intake: one validated CT series as a volume in HU, or a refusal with a code.

Which file judges what, in the order in which a folder passes them (``series`` calls them):

    discover      every file under the path: DICOM or not, links, archives, folders that cannot be read
    header        one file: where its data set begins, how it is encoded, where its pixels are; damage
    inflate       a deflated data set, inflated under a size limit
    lost          files that are not DICOM but may be missing slices; files that change while being read
    image_type    kind of each object: image, derived, processed, localizer or other
    grouped       objects by series, and by kind within a series
    select        the one series to read
    damaged       files that cannot be read: may they be slices of it, or are they copies of whole files?
    plan          every check that needs headers only, in order; size, transfer syntax, spacing, coverage
    strays        single objects in a series that cannot belong to its stack
    tags          numbers of one tag, and the refusal that names it
    frames        tags of one image: place, pixel size, pixel format, rescale to HU
    enhanced      the same tags of each frame of a multi-frame object
    identity      one patient, one study, one frame of reference
    labels        values that tell acquisitions apart
    acquisitions  several acquisitions in one series: choose one, refuse two that interleave
    grid          places of the images of one stack
    geometry      slices to one regular grid in mm: orientation, spacing, gaps, duplicates, gantry tilt
    pixels        decoding of every slice to HU; images that share a place; padding
    source        bytes of each frame: truncation, wrong length, bytes behind the pixels
    codecs        one strict decoder per transfer syntax; bits above BitsStored
    charls        the JPEG-LS decoder
    plausible     values of the volume: range, blank slices, copies, rescale, calibration
    neighbours    each slice against the slices beside it: damage that no decoder reports
    regrid        the two changes of grid on request: gantry tilt undone, axes permuted to axial

Shared by all of them: ``leniency`` (what a caller may accept), ``advice``, ``errors`` and ``wording`` (texts of
refusals) and ``quiet`` (pydicom's own messages). ``listing`` lists every series under a path with its verdict,
``survey`` those of one folder of an archive; ``rank`` judges several usable series: which suits nodule detection best.

Importing this package imports neither torch nor monai.
"""

from lungcad.dicom.errors import DicomSeriesError
from lungcad.dicom.leniency import Leniency
from lungcad.dicom.listing import AcquisitionSummary, SeriesSummary, list_series
from lungcad.dicom.rank import BEST, choose_best, rank_series
from lungcad.dicom.series import read_series

__all__ = [
    "BEST", "AcquisitionSummary", "DicomSeriesError", "Leniency", "SeriesSummary", "choose_best", "list_series",
    "rank_series", "read_series",
]  # fmt: skip
