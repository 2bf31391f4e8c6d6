# SPDX-License-Identifier: Apache-2.0
"""Measurement groups of the report: the measurements of one nodule, and the statement that there is no nodule.

A nodule without a segment has one group with all measurements and its region on the key slice (TID 1410). DICOM allows
no region beside a segment (TID 1411), so a nodule with a segment has two groups: the circle on the key slice with its
diameter, and the segment with its measurements and all evaluations. Both have the same tracking UID, by which viewers
join them. The circle comes first: OHIF goes to the first region or point of the groups that it has joined, and cannot
go to a point in space.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from highdicom.seg import Segmentation
from highdicom.sr import (
    FindingSite,
    ImageRegion,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    Scoord3DContentItem,
    SourceImageForRegion,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.sr.coding import Code

from lungcad.finding import ATTRIBUTES
from lungcad.results.dicom import codes
from lungcad.results.dicom.codes import attribute_code, concept, malignancy_code
from lungcad.results.dicom.equipment import Algorithm
from lungcad.results.dicom.nodules import Nodule
from lungcad.results.dicom.source import Source
from lungcad.results.dicom.uids import derived_uid
from lungcad.results.nodules_json import reported_score
from lungcad.results.words import MALIGNANCY_MEANING, measurement_words, shown_mean_mm

IMAGE_CORNER = 0.5
"""Shift from indices, which count from the first pixel's centre, to DICOM's image coordinates, which count from its
corner (PS3.3 C.18.6.1.1)."""


def nodule_groups(
    nodule: Nodule, source: Source, segmentation: Segmentation | None, algorithm: Algorithm, points: bool = True
) -> list[Any]:
    """Build the measurement group of a nodule, or two where it has a segment.

    Args:
        nodule: reported finding.
        source: series, for the key slice.
        segmentation: object with the nodule's segment; None where there is none.
        algorithm: chain that found the nodule.
        points: whether the report can hold points in space.
    """
    site = FindingSite(concept(codes.LUNG), concept(codes.SIDES[nodule.side]) if nodule.side else None)
    finding: dict[str, Any] = {
        "finding_type": concept(codes.NODULE), "finding_category": concept(codes.ABNORMAL), "finding_sites": [site],
    }  # fmt: skip
    segmented = segmentation is not None and nodule.segment is not None
    on_circle, others = _circle_items(nodule.entry), _measurement_items(measurements(nodule))
    contents: dict[str, Any] = finding | {
        "algorithm_id": algorithm.for_report(),
        "measurements": others if segmented else [*on_circle, *others],
        "qualitative_evaluations": [QualitativeEvaluation(concept(name), concept(value)) for name, value in
                                    (*attribute_codes(nodule.entry), *nodule.evaluations)],
    }  # fmt: skip
    region = key_region(nodule.entry, source)
    tracking = _tracking(nodule)
    whole: Any
    if segmentation is None or nodule.segment is None:
        whole = PlanarROIMeasurementsAndQualitativeEvaluations(tracking, region, **contents)
        groups = [whole]
    else:
        series = SourceSeriesForSegmentation(source.instances[0].SeriesInstanceUID)
        segment = ReferencedSegment(segmentation.SOPClassUID, segmentation.SOPInstanceUID, nodule.segment,
                                    source_series=series)  # fmt: skip
        whole = VolumetricROIMeasurementsAndQualitativeEvaluations(tracking, referenced_segment=segment, **contents)
        circle = PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking, region, algorithm_id=algorithm.for_report(), measurements=on_circle, **finding
        )
        groups = [circle, whole]
    whole[0].ContentSequence.extend(_further_items(nodule.entry, source, points))
    whole[0].ContentSequence.extend(map(comment_item, nodule.comments))
    return groups


def _measurement_items(values: Iterable[tuple[Code, float, Code]]) -> list[Measurement]:
    """Measurements from tuples of name, value and unit."""
    return [Measurement(concept(name), value, concept(unit)) for name, value, unit in values]


def _circle_items(entry: Mapping[str, Any]) -> list[Measurement]:
    """Diameter of the circle as a measurement; that of a measured nodule is marked as a mean, of its axes."""
    derivation = concept(codes.MEAN) if entry["measurement"] is not None else None
    return [
        Measurement(concept(name), value, concept(unit), derivation=derivation)
        for name, value, unit in circle_measurements(entry)
    ]


def no_nodule_group(
    document: Mapping[str, Any], algorithm: Algorithm, key: str
) -> MeasurementsAndQualitativeEvaluations:
    """Build the statement that the chain ran and found nothing (TID 1501); an empty report could mean failure."""
    result = QualitativeEvaluation(concept(codes.SUMMARY), concept(codes.WITHOUT_FINDINGS))
    group = MeasurementsAndQualitativeEvaluations(
        TrackingIdentifier(derived_uid("no nodule", key), "no nodule"), algorithm_id=algorithm.for_report(),
        finding_sites=[FindingSite(concept(codes.LUNG))], qualitative_evaluations=[result],
    )  # fmt: skip
    group[0].ContentSequence.append(comment_item(document["summary"]))
    return group


def circle_measurements(entry: Mapping[str, Any]) -> list[tuple[Code, float, Code]]:
    """Name, value and unit of the circle's diameter, rounded to 0.1 mm; empty where the diameter is not known."""
    diameter = circle_diameter_mm(entry)
    return [] if diameter is None else [(codes.DIAMETER, round(diameter, 1), codes.MM)]


def circle_diameter_mm(entry: Mapping[str, Any]) -> float | None:
    """Diameter of a nodule's circle: the mean diameter of a measured one, else the detector's; None if not known.

    A detector's sphere beside the axes of a mask would be a second size of one nodule.
    """
    if entry["measurement"] is not None:
        return shown_mean_mm(entry["measurement"])
    diameter: float | None = entry["diameter_mm"]
    return diameter


def measurements(nodule: Nodule) -> Iterator[tuple[Code, float, Code]]:
    """Yield name, value and unit of axes, volume, mean HU and certainty where known, to 0.1 mm, 1 mm3, 1 HU and 1 %.

    Axes are known only where a mask was measured. The certainty is from 1 to 99 %: a network is never sure.
    """
    entry, score = nodule.entry, reported_score(nodule.entry)
    if nodule.axes_mm is not None:
        long, short = nodule.axes_mm
        yield codes.LONG_AXIS, round(long, 1), codes.MM
        yield codes.SHORT_AXIS, round(short, 1), codes.MM
    if entry["volume_mm3"] is not None:
        yield codes.VOLUME, float(round(entry["volume_mm3"])), codes.MM3
    if entry["measurement"] is not None:
        yield codes.MEAN_HU, float(round(entry["measurement"]["mean_hu"])), codes.HU
    if score is not None:
        yield codes.CERTAINTY, float(min(max(round(100 * float(score)), 1), 99)), codes.PERCENT


def attribute_codes(entry: Mapping[str, Any]) -> Iterator[tuple[Code, Code]]:
    """Yield concept and value of the predicted opinions of readers: malignancy in five steps, and LIDC's attributes."""
    if entry["malignancy_probability"] is not None:
        yield codes.MALIGNANCY, malignancy_code(entry["malignancy_probability"])
    scores = entry["attributes"] or {}
    for name in ATTRIBUTES:
        if scores.get(name) is not None:
            yield attribute_code(name, scores[name])


def key_region(entry: Mapping[str, Any], source: Source) -> ImageRegion:
    """Region of the nodule on the slice nearest to its centre: its circle, or its centre where no size is known.

    The circle is written as an ellipse, since pixels need not be square; its longer axis comes first.
    """
    column, row, level = source.locate(entry["center_lps_mm"])
    center = np.array([column, row]) + IMAGE_CORNER
    kind, points = "POINT", center[None]
    if (diameter := circle_diameter_mm(entry)) is not None:
        radii = np.diag(diameter / 2 / np.array(source.spacing_mm[:2]))
        longer = int(radii.diagonal().argmax())
        kind = "ELLIPSE"
        points = center + np.array([sign * radii[axis] for axis in (longer, 1 - longer) for sign in (-1, 1)])
    image, frame = source.slices[level]
    at = SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID, None if frame is None else [frame])
    return ImageRegion(kind, points, at)


def _further_items(entry: Mapping[str, Any], source: Source, points: bool) -> Iterator[Any]:
    """Yield items without an argument in highdicom's templates: the centre in space, and comments."""
    if points and source.frame_of_reference_uid:
        yield center_item(entry["center_lps_mm"], source)
    if entry["malignancy_probability"] is not None:
        yield comment_item(MALIGNANCY_MEANING)
    if entry["measurement"] is not None:
        yield comment_item(measurement_words(entry["measurement"]))


def center_item(center_lps_mm: Sequence[float], source: Source) -> Scoord3DContentItem:
    """Centre of a nodule in space as content of a group; the series must have a frame of reference."""
    return Scoord3DContentItem(
        concept(codes.CENTER), "POINT", np.array([center_lps_mm]), source.frame_of_reference_uid,
        relationship_type=RelationshipTypeValues.CONTAINS,
    )  # fmt: skip


def comment_item(text: str) -> TextContentItem:
    """Comment as content of a group."""
    return TextContentItem(concept(codes.COMMENT), text, RelationshipTypeValues.CONTAINS)


def _tracking(nodule: Nodule) -> TrackingIdentifier:
    """Tracking id and UID of a nodule."""
    return TrackingIdentifier(nodule.tracking_uid, nodule.tracking_id)
