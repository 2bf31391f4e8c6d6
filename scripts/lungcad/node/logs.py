# SPDX-License-Identifier: Apache-2.0
"""Log of a node: our own lines with their time, none of the libraries, which can quote a patient's name."""

import logging
import sys
import threading
import warnings

LIBRARIES = ("pynetdicom", "pydicom", "dicomweb_client", "highdicom", "urllib3")

log = logging.getLogger("lungcad.node")


def log_to_stderr() -> None:
    """Write our own lines to stderr; silence the libraries' lines and warnings, and the texts of exceptions."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")
    threading.excepthook = lambda failed: log.error("thread failed: %s", failed.exc_type.__name__)
