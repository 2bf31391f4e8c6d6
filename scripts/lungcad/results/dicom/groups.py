# SPDX-License-Identifier: Apache-2.0
"""Measurement groups of the report: what is known of one nodule, and the statement that there is none.

All that is known of a nodule stands in one group with its region on the key slice (TID 1410). Where it has a segment,
which DICOM allows no region beside (TID 1411), there are two groups, each of one source: the segment with what was
measured on it and all evaluations, and the circle on the key slice with its diameter, which another stage may have
given. Both have the tracking UID, by which viewers join them.
"""

from collections.abc import Iterable, Iterator, Mapping
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
from lungcad.results.words import MALIGNANCY_MEANING

IMAGE_CORNER = 0.5
"""DICOM's image coordinates count from the corner of the first pixel, indices from its centre (PS3.3 C.18.6.1.1)."""


def nodule_groups(
    nodule: Nodule, source: Source, segmentation: Segmentation | None, algorithm: Algorithm, points: bool = True
) -> list[Any]:
    """Build one group, or two where the nodule has a segment.

    Args:
        nodule: reported finding.
        source: the series, for the key slice.
        segmentation: holds the nodule's segment, if it has one.
        algorithm: that found it.
        points: the object can hold points in space.
    """
    place = FindingSite(concept(codes.LUNG), concept(codes.SIDES[nodule.side]) if nodule.side else None)
    about: dict[str, Any] = {
        "finding_type": concept(codes.NODULE), "finding_category": concept(codes.ABNORMAL), "finding_sites": [place],
    }  # fmt: skip
    segmented = segmentation is not None and nodule.segment is not None
    of_circle, others = circle_measurements(nodule.entry), measurements(nodule)
    known: dict[str, Any] = about | {
        "algorithm_id": algorithm.for_report(),
        "measurements": _items(others if segmented else [*of_circle, *others]),
        "qualitative_evaluations": [QualitativeEvaluation(concept(name), concept(value)) for name, value in
                                    attributes(nodule.entry)],
    }  # fmt: skip
    region = key_region(nodule.entry, source)
    if segmentation is None or nodule.segment is None:
        groups = [PlanarROIMeasurementsAndQualitativeEvaluations(_tracking(nodule), region, **known)]
    else:
        series = SourceSeriesForSegmentation(source.instances[0].SeriesInstanceUID)
        segment = ReferencedSegment(segmentation.SOPClassUID, segmentation.SOPInstanceUID, nodule.segment,
                                    source_series=series)  # fmt: skip
        groups = [
            VolumetricROIMeasurementsAndQualitativeEvaluations(_tracking(nodule), referenced_segment=segment, **known),
            PlanarROIMeasurementsAndQualitativeEvaluations(
                _tracking(nodule), region, algorithm_id=algorithm.for_report(), measurements=_items(of_circle), **about
            ),
        ]
    groups[0][0].ContentSequence.extend(_more(nodule.entry, source, points))
    return groups


def _items(values: Iterable[tuple[Code, float, Code]]) -> list[Measurement]:
    return [Measurement(concept(name), value, concept(unit)) for name, value, unit in values]


def no_nodule_group(
    document: Mapping[str, Any], algorithm: Algorithm, key: str
) -> MeasurementsAndQualitativeEvaluations:
    """Build the statement that everything ran and found nothing (TID 1501); silence could mean that nothing ran."""
    result = QualitativeEvaluation(concept(codes.SUMMARY), concept(codes.WITHOUT_FINDINGS))
    group = MeasurementsAndQualitativeEvaluations(
        TrackingIdentifier(derived_uid("no nodule", key), "no nodule"), algorithm_id=algorithm.for_report(),
        finding_sites=[FindingSite(concept(codes.LUNG))], qualitative_evaluations=[result],
    )  # fmt: skip
    group[0].ContentSequence.append(_comment(document["summary"]))
    return group


def circle_measurements(entry: Mapping[str, Any]) -> list[tuple[Code, float, Code]]:
    """Name, value and unit of the circle's diameter, to 0.1 mm; empty where it is not known."""
    diameter = entry["diameter_mm"]
    return [] if diameter is None else [(codes.DIAMETER, round(diameter, 1), codes.MM)]


def measurements(nodule: Nodule) -> Iterator[tuple[Code, float, Code]]:
    """Yield name, value and unit of what else is known, rounded to 0.1 mm, 1 mm3 and 1 %.

    The axes are there only where a mask was measured. No certainty is 0 or 100 %: a network is never sure.
    """
    entry, score = nodule.entry, reported_score(nodule.entry)
    if nodule.axes_mm is not None:
        long, short = nodule.axes_mm
        yield codes.LONG_AXIS, round(long, 1), codes.MM
        yield codes.SHORT_AXIS, round(short, 1), codes.MM
    if entry["volume_mm3"] is not None:
        yield codes.VOLUME, float(round(entry["volume_mm3"])), codes.MM3
    if score is not None:
        yield codes.CERTAINTY, float(min(max(round(100 * float(score)), 1), 99)), codes.PERCENT


def attributes(entry: Mapping[str, Any]) -> Iterator[tuple[Code, Code]]:
    """Yield concept and value of readers' opinions: malignancy in five steps, and LIDC's attributes that are known."""
    if entry["malignancy_probability"] is not None:
        yield codes.MALIGNANCY, malignancy_code(entry["malignancy_probability"])
    scores = entry["attributes"] or {}
    for name in ATTRIBUTES:
        if scores.get(name) is not None:
            yield attribute_code(name, scores[name])


def key_region(entry: Mapping[str, Any], source: Source) -> ImageRegion:
    """Mark the nodule on the slice nearest to its centre: its sphere's circle, or the centre where no size is known.

    The circle is written as an ellipse, since pixels need not be square; its longer axis comes first.
    """
    column, row, level = source.place(entry["center_lps_mm"])
    center = np.array([column, row]) + IMAGE_CORNER
    kind, points = "POINT", center[None]
    if entry["diameter_mm"] is not None:
        radii = np.diag(entry["diameter_mm"] / 2 / np.array(source.spacing_mm[:2]))
        longer = int(radii.diagonal().argmax())
        kind = "ELLIPSE"
        points = center + np.array([sign * radii[axis] for axis in (longer, 1 - longer) for sign in (-1, 1)])
    image, frame = source.slices[level]
    at = SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID, None if frame is None else [frame])
    return ImageRegion(kind, points, at)


def _more(entry: Mapping[str, Any], source: Source, points: bool) -> Iterator[Any]:
    """Items that the templates have no argument for: the centre between slices, and the meaning of malignancy."""
    if points and source.frame_of_reference_uid:
        yield Scoord3DContentItem(
            concept(codes.CENTER), "POINT", np.array([entry["center_lps_mm"]]), source.frame_of_reference_uid,
            relationship_type=RelationshipTypeValues.CONTAINS,
        )  # fmt: skip
    if entry["malignancy_probability"] is not None:
        yield _comment(MALIGNANCY_MEANING)


def _comment(text: str) -> TextContentItem:
    return TextContentItem(concept(codes.COMMENT), text, RelationshipTypeValues.CONTAINS)


def _tracking(nodule: Nodule) -> TrackingIdentifier:
    return TrackingIdentifier(nodule.tracking_uid, nodule.tracking_id)
