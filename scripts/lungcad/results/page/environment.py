# SPDX-License-Identifier: Apache-2.0
"""Jinja environment of offline pages: filters for numbers, and style sheets and scripts that go into the page."""

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


@lru_cache
def page_environment(package: str = "lungcad.results.page") -> "Environment":
    """Environment that escapes all text; its templates call ``asset`` and ``security_policy``, and are compiled once.

    Args:
        package: package whose folder ``templates`` is looked in first, before that of this package.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in (package, "lungcad.results.page")]), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": number_text, "coordinates": coordinates_text, "data": data_block}
    environment.globals |= {one.__name__: partial(one, environment) for one in (asset, security_policy)}
    return environment


def asset(environment: "Environment", name: str) -> "Markup":
    """Text of a style sheet or script among the templates, as it stands."""
    from markupsafe import Markup

    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def security_policy(environment: "Environment", *scripts: str) -> str:
    """Content security policy of a page that loads nothing, and runs these scripts of ours and no other."""
    hashes = [hashlib.sha256(asset(environment, name).encode()).digest() for name in scripts]
    sources = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in hashes) or "'none'"
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
