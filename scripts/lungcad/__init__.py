# SPDX-License-Identifier: Apache-2.0
"""Lung-nodule CAD on chest CT: five papers as MONAI Bundles, and a chain of them.

Example:
    >>> import lungcad                            # doctest: +SKIP
    >>> volume = lungcad.read("scans/chest")      # doctest: +SKIP
    >>> chain = lungcad.Chain()                   # doctest: +SKIP
    >>> result = chain(volume)                    # doctest: +SKIP
    >>> lungcad.write(result, "out")              # doctest: +SKIP

Importing this package imports neither torch nor pydicom; :func:`read` imports pydicom, :class:`Chain` torch and MONAI.
"""

import importlib
from typing import TYPE_CHECKING, Any

from lungcad.errors import InputError
from lungcad.finding import Finding
from lungcad.volume import Notice, Volume

if TYPE_CHECKING:
    from lungcad.chain.chain import Chain
    from lungcad.dicom import list_series
    from lungcad.reading import read
    from lungcad.results.result import Result
    from lungcad.results.write import write

__version__ = "0.1.0"

__all__ = [
    "Chain", "Finding", "InputError", "Notice", "Result", "Volume", "__version__", "list_series", "read", "write",
]  # fmt: skip

_HOMES = {
    "Chain": "lungcad.chain.chain", "Result": "lungcad.results.result", "list_series": "lungcad.dicom",
    "read": "lungcad.reading", "write": "lungcad.results.write",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
