#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes scripts/deploy/.venv with the MONAI Deploy App SDK. An environment of its own, because where the SDK is
# installed and holoscan cannot be loaded, `import monai` fails altogether.
#
# Environment:
#   PYTHON      the interpreter to build on, 3.11 to 3.13; default python3.11
#   TORCH_SPEC  pip's words for torch, as for scripts/setup.sh; default the pinned version's CPU build, if pip has one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
pip_install() { .venv/bin/python -m pip install --quiet --no-input --disable-pip-version-check --no-compile "$@" </dev/null; }
torch=$(grep '^torch==' app/requirements.txt)

stamp=.venv/lungcad-deploy
recipe=$(cksum app/requirements.txt setup.sh; pwd)
[ "$(cat "$stamp" 2>/dev/null)" = "$recipe" ] && exit 0

"${PYTHON:-python3.11}" -m venv --clear .venv
echo "setup: installing torch, then the SDK (about 3 GB)" >&2
if [ -n "${TORCH_SPEC:-}" ]; then
    # shellcheck disable=SC2086  # the words are meant to split
    pip_install $TORCH_SPEC
else
    pip_install "$torch+cpu" 2>/dev/null || pip_install "$torch"
fi
pip_install -r app/requirements.txt
.venv/bin/python -c 'from monai.deploy.core import Application' >/dev/null 2>&1 || {
    echo "setup: installed, but the SDK cannot be imported: scripts/deploy/.venv/bin/python -c 'import monai.deploy.core'" >&2
    exit 1
}
printf '%s' "$recipe" > "$stamp"
