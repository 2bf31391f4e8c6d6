# SPDX-License-Identifier: Apache-2.0
"""Findings as a Comprehensive 3D SR, or a Comprehensive SR, after TID 1500, Measurement Report (PS3.16)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.seg import Segmentation
from highdicom.sr import (
    CodeContentItem,
    Comprehensive3DSR,
    ComprehensiveSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    ImageContentItem,
    MeasurementReport,
    NumContentItem,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    UIDRefContentItem,
)
from pydicom.sr.codedict import codes as dictionary

from lungcad.results.dicom.codes import CT_CHEST, LIDC_SCHEME, LIDC_SCHEME_NAME, MM, PIXELS, concept
from lungcad.results.dicom.equipment import MANUFACTURER, Algorithm, object_header
from lungcad.results.dicom.groups import no_nodule_group, nodule_groups
from lungcad.results.dicom.nodules import Nodule
from lungcad.results.dicom.source import Source

SERIES_NUMBER = 9001
"""Number of the series, far from a scanner's own, which count up from 1."""


def make_report(
    source: Source, document: Mapping[str, Any], nodules: Sequence[Nodule], segmentation: Segmentation | None,
    algorithm: Algorithm, key: str, comprehensive: bool = False,
) -> Comprehensive3DSR | ComprehensiveSR:  # fmt: skip
    """Build the object: complete and preliminary, verified by nobody.

    Args:
        source: the series.
        document: nodules.json.
        nodules: those that are reported; none is a result of its own.
        segmentation: with their masks, None where there are none.
        algorithm: that found them.
        key: see :func:`lungcad.results.dicom.uids.object_key`.
        comprehensive: write a Comprehensive SR, which has no points in space, for archives that take no 3D SR.
    """
    device = DeviceObserverIdentifyingAttributes(
        algorithm.device_uid, algorithm.name, MANUFACTURER, f"{algorithm.name} {algorithm.version}"
    )
    points = not comprehensive
    groups = [group for one in nodules for group in nodule_groups(one, source, segmentation, algorithm, points)]
    report = MeasurementReport(
        ObservationContext(observer_device_context=ObserverContext(concept(dictionary.DCM.Device), device)),
        concept(CT_CHEST), groups or [no_nodule_group(document, algorithm, key)],
    )  # fmt: skip
    root = report[0].ContentSequence
    root.insert(len(root) - 1, image_library(source))
    evidence = [*source.instances, *([segmentation] if segmentation is not None else [])]
    kind = ComprehensiveSR if comprehensive else Comprehensive3DSR
    return kind(
        evidence, report[0], is_complete=True,
        coding_schemes=[CodingSchemeIdentificationItem(LIDC_SCHEME, LIDC_SCHEME_NAME)],
        **object_header(algorithm, f"{key} {kind.__name__}", SERIES_NUMBER, "Lung nodules"),
    )  # fmt: skip


def image_library(source: Source) -> ContainerContentItem:
    """List the images that were looked at; attributes that they share stand there once (TID 1600).

    highdicom's own library repeats everything for each image, which for a CT series comes to a megabyte, and knows no
    multi-frame objects.
    """
    library = ContainerContentItem(
        concept(dictionary.DCM.ImageLibrary), relationship_type=RelationshipTypeValues.CONTAINS
    )
    group = ContainerContentItem(
        concept(dictionary.DCM.ImageLibraryGroup), relationship_type=RelationshipTypeValues.CONTAINS
    )
    group.ContentSequence = ContentSequence([*_shared(source), *_entries(source)])
    library.ContentSequence = ContentSequence([group])
    return library


def _shared(source: Source) -> Iterator[Any]:
    context = RelationshipTypeValues.HAS_ACQ_CONTEXT
    names = dictionary.DCM
    yield CodeContentItem(concept(names.Modality), concept(dictionary.cid29.ComputedTomography), context)
    if source.frame_of_reference_uid:
        yield UIDRefContentItem(concept(names.FrameOfReferenceUID), source.frame_of_reference_uid, context)
    x, y, z = source.spacing_mm
    for name, value, unit in (
        (names.PixelDataRows, source.rows, PIXELS), (names.PixelDataColumns, source.columns, PIXELS),
        (names.HorizontalPixelSpacing, round(x, 6), MM), (names.VerticalPixelSpacing, round(y, 6), MM),
        (names.SpacingBetweenSlices, round(z, 6), MM),
    ):  # fmt: skip
        yield NumContentItem(concept(name), value, concept(unit), relationship_type=context)


def _entries(source: Source) -> Iterator[Any]:
    for image in source.instances:
        yield ImageContentItem(
            concept(dictionary.SCT.Source), image.SOPClassUID, image.SOPInstanceUID,
            relationship_type=RelationshipTypeValues.CONTAINS,
        )  # fmt: skip
