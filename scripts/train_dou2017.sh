#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Both Dou 2017 bundles from data to scored weights. What is done already is skipped, a training that was cut off goes on
# from its last epoch: the same command resumes.
#
#   bash scripts/train_dou2017.sh DATA [RUNS]     DATA: folder with nodules3d and lungs; RUNS: default runs
set -euo pipefail
data=$(realpath "${1:?usage: bash scripts/train_dou2017.sh DATA [RUNS]}")
runs=$(realpath -m "${2:-runs}")
scripts=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
bundles=$scripts/../bundles
python=$scripts/../.venv/bin/python
[ -x "$python" ] || python=python
detection=$bundles/lung_nodule_detection_dou2017
reduction=$bundles/lung_nodule_fpr_dou2017

# overlay BUNDLE OVERLAY [--key value ...]
overlay() {
    local bundle=$1 config=$2
    shift 2
    "$python" -m monai.bundle run --config_file "['$bundle/configs/inference.json','$bundle/configs/$config.json']" \
        --bundle_root "$bundle" "$@"
}
train() { # train BUNDLE NAME [--key value ...]
    [ -e "$runs/$2/model.pt" ] || overlay "$1" train --cases_dir "$runs/cases/train" --run_dir "$runs/$2" "${@:3}"
}
candidates() { # candidates NAME: what the detection of that round finds in the training cases
    cp "$runs/$1/model.pt" "$detection/models/model.pt"
    "$python" "$scripts/verify_bundles.py" lung_nodule_detection_dou2017 --write_hash true --inference false
    [ -e "$runs/$1/train/candidates.json" ] || overlay "$detection" evaluate --cases_dir "$runs/cases/train" \
        --output_dir "$runs/$1/train" --data "training cases" --max_candidates 100 --score_threshold 0.3
}

[ -e "$runs/cases/test" ] ||
    "$python" "$scripts/make_cases.py" implanted --data_dir "$data" --output_dir "$runs/cases"

train "$detection" detection_1 --epochs 24
candidates detection_1
train "$detection" detection_2 --epochs 26 --start_from "$runs/detection_1/model.pt" \
    --candidates "$runs/detection_1/train/candidates.json"
train "$detection" detection_3 --epochs 24 --learning_rate 0.0006 --seed 5 --start_from "$runs/detection_2/model.pt" \
    --candidates "$runs/detection_1/train/candidates.json"
candidates detection_3
train "$reduction" reduction --epochs 24 --candidates "$runs/detection_3/train/candidates.json" \
    --detection_weights "$runs/detection_3/model.pt"
cp "$runs/reduction/model.pt" "$reduction/models/model.pt"
"$python" "$scripts/verify_bundles.py" lung_nodule_fpr_dou2017 --write_hash true --inference false

for split in validation test; do
    overlay "$detection" evaluate --cases_dir "$runs/cases/$split" --output_dir "$runs/detection_$split" \
        --data "implanted $split cases"
    overlay "$reduction" evaluate --cases_dir "$runs/cases/$split" --output_dir "$runs/reduction_$split" \
        --candidates "$runs/detection_$split/candidates.json" --data "implanted $split cases"
done
