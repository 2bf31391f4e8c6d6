# SPDX-License-Identifier: Apache-2.0
"""Advice on options, both as the keyword of the Python call and as the option of the command line."""

import shlex
from typing import Any


def option(name: str, value: Any) -> str:
    """Option that allows an exception to the strict rules; ``name`` is a field of :class:`lungcad.dicom.Leniency`."""
    return f"{name}={value} (on the command line --leniency \"{{'{name}': {value}}}\")"


ALLOW_DERIVED = option("allow_derived", True)
CHOOSE_SERIES = "Choose one with series_uid (on the command line --series_uid UID, or --choose best)."


def choose_acquisition(labels: list[str]) -> str:
    """Advice to choose one of the acquisitions, with their labels."""
    shown = ", ".join(labels[:12]) + (", ..." if len(labels) > 12 else "")
    first, quoted = repr(labels[0]), shlex.quote(labels[0])  # two kernels of one image are joined by a backslash
    return f"Choose an acquisition: {shown} (acquisition={first}, on the command line --acquisition {quoted})."
