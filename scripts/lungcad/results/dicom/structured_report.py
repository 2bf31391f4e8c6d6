# SPDX-License-Identifier: Apache-2.0
"""Structured report of the findings: Comprehensive 3D SR or Comprehensive SR by TID 1500 (PS3.16)."""

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
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as dictionary

from lungcad.results.dicom.codes import CT_CHEST, LIDC_SCHEME, LIDC_SCHEME_NAME, MM, PIXELS, concept
from lungcad.results.dicom.earlier import predecessors
from lungcad.results.dicom.equipment import MANUFACTURER, Algorithm, object_header
from lungcad.results.dicom.groups import no_nodule_group, nodule_groups
from lungcad.results.dicom.nodules import Nodule
from lungcad.results.dicom.source import Source

SERIES_NUMBER = 9001
"""Number of the series, far from a scanner's own, which count up from 1."""


def make_report(
    source: Source, document: Mapping[str, Any], nodules: Sequence[Nodule], segmentation: Segmentation | None,
    algorithm: Algorithm, key: str, comprehensive: bool = False, earlier: Sequence[Dataset] = (),
    further_groups: Sequence[Any] = (),
) -> Comprehensive3DSR | ComprehensiveSR:  # fmt: skip
    """Build the report: complete, preliminary and not verified.

    Args:
        source: series of the scan.
        document: contents of nodules.json.
        nodules: reported nodules; without any, the report states that there are none.
        segmentation: segmentation of the nodules; None where there are no masks.
        algorithm: chain that found them.
        key: see :func:`lungcad.results.dicom.uids.object_key`.
        comprehensive: build a Comprehensive SR, which has no points in space, for archives that refuse a 3D SR.
        earlier: earlier reports of the series, see :func:`lungcad.results.dicom.earlier.earlier_reports`. The new
            report names them as its predecessors.
        further_groups: measurement groups that follow those of the nodules.
    """
    device = DeviceObserverIdentifyingAttributes(
        algorithm.device_uid, algorithm.name, MANUFACTURER, f"{algorithm.name} {algorithm.version}"
    )
    points = not comprehensive
    groups = [group for nodule in nodules for group in nodule_groups(nodule, source, segmentation, algorithm, points)]
    report = MeasurementReport(
        ObservationContext(observer_device_context=ObserverContext(concept(dictionary.DCM.Device), device)),
        concept(CT_CHEST), [*(groups or [no_nodule_group(document, algorithm, key)]), *further_groups],
    )  # fmt: skip
    root = report[0].ContentSequence
    root.insert(len(root) - 1, image_library(source))
    evidence = [*source.instances, *([segmentation] if segmentation is not None else [])]
    kind = ComprehensiveSR if comprehensive else Comprehensive3DSR

    def header(replaced: Sequence[Dataset]) -> dict[str, Any]:
        versions = "".join(f" {report.SOPInstanceUID}" for report in replaced)
        return object_header(algorithm, f"{key} {kind.__name__}{versions}", SERIES_NUMBER, "Lung nodules")

    replaced = predecessors(earlier, lambda reports: header(reports)["sop_instance_uid"])
    return kind(
        evidence, report[0], is_complete=True, previous_versions=replaced or None,
        coding_schemes=[CodingSchemeIdentificationItem(LIDC_SCHEME, LIDC_SCHEME_NAME)], **header(replaced),
    )  # fmt: skip


def image_library(source: Source) -> ContainerContentItem:
    """Image library of the series, with the attributes that the images share stated once (TID 1600).

    highdicom's own library repeats all attributes for each image, a megabyte for a CT series, and does not support
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
    """Yield the attributes that all images of the series share."""
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
    """Yield the references to the images of the series."""
    for image in source.instances:
        yield ImageContentItem(
            concept(dictionary.SCT.Source), image.SOPClassUID, image.SOPInstanceUID,
            relationship_type=RelationshipTypeValues.CONTAINS,
        )  # fmt: skip
