#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Packs the chain and builds the MAP (a container image for MONAI Deploy) around it; where Docker with buildx is not
# there, writes and checks the complete build context instead. Needs scripts/setup.sh and scripts/deploy/setup.sh.
#
#   bash scripts/deploy/build_map.sh [OUT]      default OUT: dist/map
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=${1:-dist/map}
deploy=scripts/deploy
sdk=$deploy/.venv/bin
tag=lung-nodule-cad:$(sed -n 's/^  version: //p' $deploy/app/app.yaml)

rm -rf "$out/models" "$out/context"
mkdir -p "$out/context"
"${PYTHON:-.venv/bin/python}" scripts/pack_bundle.py lung_nodule_cad --output_dir "$out/models"
mv "$out"/models/*.zip "$out" # the packager takes every file beside the folders for a model
find $deploy/app -name __pycache__ -exec rm -rf {} +
"$sdk/python" $deploy/build_context.py "$out/models" "$tag" "$out/context"
"$sdk/python" $deploy/check_context.py "$out/context"

if docker buildx version >/dev/null 2>&1 && docker info >/dev/null 2>&1; then
    "$sdk/monai-deploy" package $deploy/app -c $deploy/app/app.yaml -m "$out/models" -t "$tag" \
        --platform x86_64 --source $deploy/artifacts.json
else
    echo "no Docker with buildx: the build context is in $out/context. Where it is:" \
        "docker buildx build --build-arg UID=1000 --build-arg GID=1000 --build-arg UNAME=holoscan --build-arg GPU_TYPE=dgpu" \
        "-t $tag $out/context"
fi
