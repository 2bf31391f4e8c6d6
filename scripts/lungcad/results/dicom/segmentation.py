# SPDX-License-Identifier: Apache-2.0
"""Segmentation object (PS3.3 A.51) with the masks: binary, one segment per nodule, on the pixels of the series."""

from collections.abc import Sequence

import numpy as np
from highdicom import PlanePositionSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription

from lungcad.results.dicom.codes import ABNORMAL, LUNG, NODULE, SIDES, concept
from lungcad.results.dicom.equipment import MANUFACTURER, Algorithm, object_header
from lungcad.results.dicom.nodules import Nodule
from lungcad.results.dicom.source import Source
from lungcad.results.dicom.uids import derived_uid

SERIES_NUMBER = 9002
"""Number of the series, far from a scanner's own, which count up from 1."""


def why_no_segmentation(source: Source, nodules: Sequence[Nodule]) -> str:
    """Reason in words why there is no segmentation; empty where there is one."""
    if all(nodule.mask is None for nodule in nodules):
        return "no stage segmented a reported nodule"
    numbers = sorted(number for _, number in source.slices if number is not None)
    if numbers and (len(source.instances) > 1 or numbers != list(range(1, len(numbers) + 1))):
        return "the series is spread over several multi-frame objects, or some of its frames are not used"
    return ""


def make_segmentation(source: Source, nodules: Sequence[Nodule], algorithm: Algorithm, key: str) -> Segmentation:
    """Build the segmentation of the nodules that have masks.

    Args:
        source: series; see :func:`why_no_segmentation`.
        nodules: reported nodules, with and without masks.
        algorithm: chain that segmented them.
        key: see :func:`lungcad.results.dicom.uids.object_key`.
    """
    segmented = [nodule for nodule in nodules if nodule.mask is not None]
    levels, pixels = stacked_masks(source, segmented)
    images = [source.slices[level][0] for level in levels]
    positions = None
    if source.slices[0][1] is not None:
        images, numbers = source.instances, [source.slices[level][1] or 1 for level in levels]
        frames = source.instances[0].PerFrameFunctionalGroupsSequence
        positions = [PlanePositionSequence.from_sequence(frames[n - 1].PlanePositionSequence) for n in numbers]
    segmentation = Segmentation(
        source_images=images, pixel_array=pixels, segmentation_type="BINARY", plane_positions=positions,
        segment_descriptions=[_describe(nodule, algorithm) for nodule in segmented],
        content_label="NODULES", content_description="Lung nodules, for research only",
        content_creator_name=MANUFACTURER, **object_header(algorithm, key, SERIES_NUMBER, "Lung nodule masks"),
    )  # fmt: skip
    organisation = derived_uid("dimensions", key)  # highdicom draws one at random
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = organisation
    return segmentation


def stacked_masks(source: Source, segmented: Sequence[Nodule]) -> tuple[list[int], np.ndarray]:
    """Stack the masks on the slices that at least one of them touches.

    Returns:
        indices of the slices, ascending, and (slices, rows, columns) uint8 with the number of the segment, uint16 from
        256 segments on; where segments overlap (slices, rows, columns, segments) uint8 with 0 and 1.
    """
    boxes = [(n.mask.first, n.mask.mask.transpose(2, 1, 0)) for n in segmented if n.mask is not None]
    levels = sorted({first[2] + n for first, box in boxes for n in range(len(box))})
    shape = (len(levels), source.rows, source.columns)
    labels = np.zeros(shape, dtype=np.uint8 if len(boxes) < 256 else np.uint16)
    overlap = False
    for number, (first, box) in enumerate(boxes, start=1):
        part = labels[_box_indices(levels, first, box)]
        overlap |= bool(part[box].any())
        part[box] = number
    if not overlap:
        return levels, labels
    layers = np.zeros((*shape, len(boxes)), dtype=np.uint8)
    for number, (first, box) in enumerate(boxes):
        layers[(*_box_indices(levels, first, box), number)] = box
    return levels, layers


def _box_indices(levels: list[int], first: tuple[int, int, int], box: np.ndarray) -> tuple[slice, slice, slice]:
    """Indices of a box (slices, rows, columns) in the stack, where its slices also follow each other."""
    column, row, level = first
    at = levels.index(level)
    return slice(at, at + box.shape[0]), slice(row, row + box.shape[1]), slice(column, column + box.shape[2])


def _describe(nodule: Nodule, algorithm: Algorithm) -> SegmentDescription:
    """Description of the segment of one nodule."""
    item = SegmentDescription(
        nodule.segment, nodule.tracking_id, concept(ABNORMAL), concept(NODULE), "AUTOMATIC", algorithm.for_segment(),
        nodule.tracking_uid, nodule.tracking_id, anatomic_regions=[concept(LUNG)],
        display_color=CIELabColor.from_string("yellow"),
    )  # fmt: skip
    if nodule.side:
        item.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [concept(SIDES[nodule.side])]
    return item
