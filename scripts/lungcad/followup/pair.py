# SPDX-License-Identifier: Apache-2.0
"""Checks of a pair: two different scans, of one patient, the prior before the current."""

from datetime import date, datetime

from lungcad.errors import InputError
from lungcad.followup.exam import Header
from lungcad.volume import Notice, Volume


def check_patient(
    before: Header, now: Header, prior: Volume, current: Volume, same_patient: bool = False
) -> list[Notice]:
    """Check that two scans are different ones of one patient.

    Args:
        before, now: headers of the prior and the current scan; those of volume files are empty.
        prior, current: volumes.
        same_patient: the user says that they are.

    Returns:
        Notice W-PAIR-PATIENT where nothing but the user's word says that it is one patient.

    Raises:
        InputError: E-PAIR-SAME (one series twice); E-PAIR-PATIENT (PatientID missing or another, or another date of
            birth).
    """
    if prior.series_uid == current.series_uid:
        raise InputError("E-PAIR-SAME", "prior and current are the same series.", "Give two different scans.")
    if before == Header() or now == Header():
        return [Notice("W-PAIR-PATIENT", "a volume file names no patient: that both scans are of one was not checked.")]
    known = bool(before.patient_id and now.patient_id)
    births = {before.birth_date, now.birth_date} - {""}
    if known and before.patient_id == now.patient_id and len(births) < 2:
        return []
    if same_patient:
        return [Notice("W-PAIR-PATIENT", "the headers do not say that both scans are of one patient: taken as told.")]
    fault = "PatientID is missing" if not known else "PatientID or date of birth of the two scans differ"
    raise InputError("E-PAIR-PATIENT", f"{fault}: they may be of different patients.",
                     "Give two scans of one patient, or --same_patient true if you know that they are.")  # fmt: skip


def protocol_notices(before: Header, now: Header) -> list[Notice]:
    """Notices W-PAIR-PROTOCOL where the headers of two scans name other scanners, or a contrast agent in one alone."""
    notices = []
    if before.maker and now.maker and before.maker != now.maker:
        text = f"scanner {before.maker} in the prior, {now.maker} in the current scan: sizes may differ by that alone."
        notices.append(Notice("W-PAIR-PROTOCOL", text))
    if None not in (before.contrast, now.contrast) and before.contrast != now.contrast:
        which = "current" if now.contrast else "prior"
        text = f"a contrast agent is named in the {which} scan alone: density, kind and size may differ by that alone."
        notices.append(Notice("W-PAIR-PROTOCOL", text))
    return notices


def days_between(
    before: Header, now: Header, days: float | None = None, prior_date: str | None = None,
    current_date: str | None = None, same_patient: bool = False,
) -> float | None:  # fmt: skip
    """Days between two scans: as given, else by the given dates, else by the headers.

    Returns:
        Days above 0; None where ``same_patient`` admits scans without order in time.

    Raises:
        InputError: E-USAGE (days or a date that is none); E-PAIR-DATE (a date is not known, or the prior is not before
            the current scan).
    """
    if days is not None:
        if isinstance(days, bool) or not isinstance(days, int | float) or not 0 < days < 40000:
            raise InputError("E-USAGE", f"--days is {days} (expected a number above 0).")
        return float(days)
    first = _given_date("prior_date", prior_date) or before.date
    second = _given_date("current_date", current_date) or now.date
    advice = "Give --days N, or --prior_date and --current_date as YYYYMMDD."
    if first is not None and second is not None and second > first:
        return float((second - first).days)
    if same_patient:
        return None
    if first is None or second is None:
        raise InputError("E-PAIR-DATE", "the date of a scan is not known.", advice)
    fault = "of the same day" if first == second else "in reverse order: the prior is the later one"
    raise InputError("E-PAIR-DATE", f"the two scans are {fault}.", advice)


def _given_date(name: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return datetime.strptime(str(text).replace("-", ""), "%Y%m%d").date()
    except ValueError as error:
        raise InputError("E-USAGE", f"--{name} is {text} (expected a date such as 20250131).") from error
