#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes .venv in this checkout with lungcad and the tested versions of what it needs; a second call takes no time.
#
#   bash scripts/setup.sh [dev]           with what the tests need
#
# Environment:
#   PYTHON      the interpreter to build on; default: the first of python3.11, python3.12, python3.13, python3
#   TORCH_SPEC  pip's words for torch, to choose a build yourself: TORCH_SPEC="torch==2.13.0 --index-url <see pytorch.org>"
#
# Which torch: the one already in .venv; else TORCH_SPEC; else, beside an NVIDIA GPU, the interpreter's own torch if it
# sees the GPU, or pip's default build (CUDA); else the CPU build, if pip finds one. It goes in first and is pinned from
# then on, because any package that asks for "torch" would otherwise pull the newest CUDA build, gigabytes for nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
extras=${1:-}

say() { printf '%s\n' "$*" >&2; }
die() { say "setup: $*"; exit 1; }
# --no-compile: what is never imported need not be compiled; it saves about half the time.
pip_install() { .venv/bin/python -m pip install --quiet --no-input --disable-pip-version-check --no-compile "$@" </dev/null; }
has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; }
torch_version() { .venv/bin/python -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null; }

stamp=.venv/lungcad-${extras:-run}
recipe=$(cat pyproject.toml scripts/constraints.txt scripts/setup.sh | cksum; pwd)
[ "$(cat "$stamp" 2>/dev/null)" = "$recipe" ] && [ -x .venv/bin/python ] && exit 0

find_python() {
    local name
    for name in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        # Running it is the test: a version manager's stub may be on PATH with nothing behind it.
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$name"; return; }
    done
    die "no Python 3.11 or newer found${PYTHON:+ as PYTHON=$PYTHON}. Install one (Debian, Ubuntu: apt-get install python3" \
        "python3-venv), or name it: PYTHON=/path/to/python3 bash scripts/demo.sh"
}

make_venv() {
    local python share=()
    python=$(find_python)
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        die "$python cannot make virtual environments. Debian, Ubuntu: apt-get install python3-venv, then run this again."
    if has_gpu && "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' >/dev/null 2>&1; then
        share=(--system-site-packages)
    fi
    say "setup: new environment in .venv ($("$python" --version))"
    "$python" -m venv --clear ${share[@]+"${share[@]}"} .venv || die "could not create .venv; is the disk full or read-only?"
}

install_torch() {
    local pinned
    pinned=$(grep '^torch==' scripts/constraints.txt)
    if [ -n "${TORCH_SPEC:-}" ]; then
        say "setup: installing $TORCH_SPEC"
        # shellcheck disable=SC2086  # the words are meant to split
        pip_install $TORCH_SPEC || die "pip could not install TORCH_SPEC=\"$TORCH_SPEC\"."
    elif has_gpu || [ "$(uname -s)" != Linux ]; then
        say "setup: installing $pinned"
        pip_install "$pinned" || die "pip could not install $pinned. Is there a network, and room on the disk?"
    else
        say "setup: installing $pinned+cpu"
        pip_install "$pinned+cpu" 2>/dev/null || {
            say "setup: pip's sources hold no CPU build; installing $pinned, which brings gigabytes of CUDA packages that" \
                "this machine will not use. To avoid them, name PyTorch's CPU index (pytorch.org, Get started: Linux, Pip," \
                "CPU) in PIP_EXTRA_INDEX_URL and run this again."
            pip_install "$pinned" || die "pip could not install $pinned. Is there a network, and room on the disk?"
        }
    fi
}

.venv/bin/python -m pip --version >/dev/null 2>&1 || make_venv
torch_version >/dev/null || install_torch
say "setup: torch $(torch_version); installing lungcad${extras:+[$extras]} and what it needs (about a minute)"
{ grep -v '^torch==' scripts/constraints.txt; echo "torch==$(torch_version)"; } > .venv/constraints.txt
pip_install -c .venv/constraints.txt -e ".${extras:+[$extras]}" ||
    die "pip could not install the packages; its message stands above. Is there a network?"
# Byte code of what a run imports, also where the environment says not to write any: each start is twice as fast.
env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -c 'import monai.bundle, lungcad.chain.cad, lungcad.papers.transforms, lungcad.results.page.report' ||
    die "the packages are installed, but cannot be imported; the message stands above."
printf '%s' "$recipe" > "$stamp"
