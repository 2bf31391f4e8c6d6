# SPDX-License-Identifier: Apache-2.0
"""Words for series and objects in messages, without a text that could name the patient."""

import re

from pydicom import uid

from lungcad.dicom.advice import ALLOW_DERIVED
from lungcad.dicom.grouped import SAFE_UID, Series
from lungcad.dicom.header import Header
from lungcad.dicom.image_type import kind_of, name_if_processed
from lungcad.printable import names_person


def printable_description(header: Header) -> str:
    """SeriesDescription; empty where it holds a part of the patient's name or id."""
    text = header.text("SeriesDescription")
    private = names_person(text, [header.text("PatientName")], header.identifiers)
    return "" if private else text


def shown_modality(header: Header) -> str:
    """Modality; empty where it is none of DICOM's form, or names the patient."""
    text = header.text("Modality").upper()
    names, ids = [header.text("PatientName")], header.identifiers
    return text if re.fullmatch(r"[A-Z]{2,8}", text) and not names_person(text, names, ids) else ""


def shown_uid(series: Series) -> str:
    """SeriesInstanceUID; empty where it is missing, no UID, which could be any text, or names the patient."""
    header = series.all[0]
    private = re.search(r"[A-Za-z]", series.uid) and names_person(
        series.uid, [header.text("PatientName")], header.identifiers
    )
    return series.uid if SAFE_UID.fullmatch(series.uid) and not private else ""


def series_list(grouped: list[Series]) -> str:
    """Uid, description and number of objects of each series, in one line; ten series at most."""
    shown = [
        f"{shown_uid(s) or 'no UID'} ({printable_description(s.all[0]) or kind_of(s.all[0])}, {len(s.all)} objects)"
        for s in grouped
    ]
    return "; ".join(shown[:10]) + (f"; and {len(shown) - 10} more" if len(shown) > 10 else "")


def kind_text(header: Header) -> str:
    """Modality, class and kind of an object in words of the standard only, since other values could hold any text."""
    modality = shown_modality(header) or "without Modality"
    kind_uid = uid.UID(header.text("SOPClassUID"))
    name = kind_uid.name if kind_uid.is_valid and not kind_uid.name[:1].isdigit() else "unknown object"
    kind = kind_of(header)
    return f"{modality} {name}" + (f" [{name_if_processed(header) or kind}]" if kind != "other" else "")


def derived_advice(grouped: list[Series]) -> str:
    """Advice where no series holds original axial images."""
    if any(series.processed for series in grouped):
        return f"Choose the original axial series, or pass {ALLOW_DERIVED}."
    return "Choose an original axial CT series of the chest."
