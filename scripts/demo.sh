#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a fresh clone to a report: installs into .venv, writes a synthetic chest CT to demo/ct, reads it into demo/out.
# Run it again as often as you like. Settings (PYTHON, TORCH_SPEC): see scripts/setup.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh
if [ ! -d demo/ct ]; then
    rm -rf demo/ct.part
    .venv/bin/python -m lungcad.phantom demo/ct.part
    mv demo/ct.part demo/ct # whole or not at all
fi
.venv/bin/lungcad run demo/ct demo/out </dev/null

echo
echo "The report, to open in a browser:"
ls -t demo/out/*/report.html | head -n 1
echo "Research use only. Not a medical device."
