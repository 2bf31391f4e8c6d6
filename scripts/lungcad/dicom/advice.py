# SPDX-License-Identifier: Apache-2.0
"""Advice that works where it is shown: the keyword of the Python call and the option of the command line."""

from typing import Any


def option(name: str, value: Any) -> str:
    """How to allow what the strict rules refuse: ``name`` is a field of :class:`lungcad.dicom.Leniency`."""
    return f"{name}={value} (on the command line --leniency \"{{'{name}': {value}}}\")"


ALLOW_DERIVED = option("allow_derived", True)
CHOOSE_SERIES = "Choose one with series_uid (on the command line --series_uid UID, or --choose best)."


def choose_acquisition(labels: list[str]) -> str:
    """Name the acquisitions to choose from."""
    shown = ", ".join(labels[:12]) + (", ..." if len(labels) > 12 else "")
    return f"Choose an acquisition: {shown} (acquisition='{labels[0]}', on the command line --acquisition {labels[0]})."
