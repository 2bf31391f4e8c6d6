#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every check there is: lint, types, tests, bundles. Arguments go to pytest, and leave the bundles out:
# bash scripts/test.sh -k dicom
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh dev
export PATH="$PWD/.venv/bin:$PATH" # the tests also call the console script
ruff check
mypy
python -m pytest "$@" </dev/null
schema=../shared/data/schema/meta_schema_20240725.json # a copy of MONAI's, for machines without network
[ ! -f $schema ] || export LUNGCAD_META_SCHEMA="${LUNGCAD_META_SCHEMA:-$schema}"
[ $# -gt 0 ] || python scripts/verify_bundles.py </dev/null
