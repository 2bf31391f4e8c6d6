# SPDX-License-Identifier: Apache-2.0
"""Jinja environment of offline pages: filters for numbers, and style sheets and scripts that go into the page."""

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


def page_environment() -> "Environment":
    """Environment that escapes all text; its templates call ``asset`` and ``security_policy``."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lungcad.results"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": number_text, "coordinates": coordinates_text, "data": data_block}
    environment.globals |= {"asset": asset, "security_policy": security_policy}
    return environment


@cache
def asset(name: str) -> "Markup":
    """Text of a style sheet or script of ours, as it stands."""
    from markupsafe import Markup

    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def security_policy(*scripts: str) -> str:
    """Content security policy of a page that loads nothing, and runs these scripts of ours and no other."""
    hashes = [hashlib.sha256(asset(name).encode()).digest() for name in scripts]
    sources = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in hashes)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {sources}"


def data_block(value: Any) -> "Markup":
    """JSON that can stand in a script element of type application/json."""
    from markupsafe import Markup

    return Markup(json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def number_text(value: float | None, digits: int = 1) -> str:
    """Text of a number with a typographic minus sign; a dash if it is unknown."""
    return "\N{EN DASH}" if value is None else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def coordinates_text(center_lps_mm: Sequence[float]) -> str:
    """Text of a point's coordinates."""
    return ", ".join(number_text(value) for value in center_lps_mm)
