# SPDX-License-Identifier: Apache-2.0
"""Checks of metadata.json: MONAI's schema, versions, required packages."""

import json
import re
from urllib.error import URLError

from monai.bundle import verify_metadata
from monai.utils import OptionalImportError

from lungcad.checks.bundle import Bundle, SkipCheck

SCHEMA_MD5 = "06954cad2cc5d3784e72077ac76f0fc8"
"""MD5 of MONAI's meta_schema_20240725.json."""


def check_metadata(bundle: Bundle) -> str:
    """Check that metadata.json satisfies MONAI's schema and that its name is the folder's."""
    assert bundle.meta.get("name") == bundle.root.name, f"name is {bundle.meta.get('name')}"
    url = bundle.meta.get("schema", "")
    copy = bundle.schema or bundle.work / "schema.json"
    try:
        verify_metadata(meta_file=str(bundle.config("metadata")), filepath=str(copy), hash_val=SCHEMA_MD5)
    except OptionalImportError as error:
        raise SkipCheck("needs jsonschema: pip install jsonschema") from error
    except (URLError, OSError) as error:
        raise SkipCheck(f"no network for {url} ({error}); give a copy with --schema") from error
    return "copy of the schema" if bundle.schema else url


def check_changelog(bundle: Bundle) -> str:
    """Check that the changelog has this version and that a model zoo around the bundle has not published it yet."""
    version = bundle.meta["version"]
    assert version in bundle.meta.get("changelog", {}), f"changelog has no {version}"
    published = bundle.root.parent / "model_info.json"
    released = json.loads(published.read_text()) if published.is_file() else {}
    assert f"{bundle.root.name}_v{version}" not in released, f"version {version} is published already"
    return version


def check_packages(bundle: Bundle) -> str:
    """Check that the packages in metadata.json have the versions that were tested (constraints.txt)."""
    places = (bundle.root / "constraints.txt", bundle.root.parents[1] / "scripts" / "constraints.txt")
    tested = next((path for path in places if path.is_file()), None)
    if tested is None:
        raise SkipCheck("no constraints.txt beside the bundle")
    pins = dict(line.lower().split("==") for line in tested.read_text().splitlines() if "==" in line)
    keys = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}
    required = {name: bundle.meta[key] for name, key in keys.items()} | bundle.meta["required_packages_version"]
    wrong = [name for name, version in required.items() if pins.get(re.sub(r"[-_.]+", "-", name).lower()) != version]
    assert not wrong, f"not as in constraints.txt: {', '.join(wrong)}"
    assert "optional_packages_version" not in bundle.meta, "optional_packages_version would replace the required ones"
    return f"{len(required)} packages"
