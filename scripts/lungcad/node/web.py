# SPDX-License-Identifier: Apache-2.0
"""Client of an archive's DICOMweb services."""

import os
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from lungcad.errors import InputError, missing_package
from lungcad.printable import printable

TOKEN = "LUNGCAD_DICOMWEB_TOKEN"
"""Environment variable with a bearer token. Name and password come from ~/.netrc, which requests reads by itself."""
TIMEOUT_SECONDS = (15.0, 120.0)
"""Longest wait for a connection, and for an answer."""


def open_client(url: str) -> Any:
    """Client for the DICOMweb services under a URL.

    Raises:
        InputError: E-USAGE, no such URL; E-PACKAGE, dicomweb-client is not installed.
    """
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        text = f"--dicomweb is {printable(without_password(url), 80)} (expected a URL)."
        raise InputError("E-USAGE", text, "Such as http://archive.example:8042/dicom-web.")
    try:
        from dicomweb_client.api import DICOMwebClient
    except ImportError as error:
        raise missing_package("dicomweb-client", "node") from error
    token = os.environ.get(TOKEN)
    client = DICOMwebClient(
        url.rstrip("/"), headers={"Authorization": f"Bearer {token}"} if token else None, timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    client.set_http_retry_params(retry=False)  # whoever calls decides when to try again
    return client


def without_password(url: str) -> str:
    """URL without name and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
