#!/usr/bin/env bash
# From a fresh clone to a trained ReSpike, on a CPU: environment, videos,
# training, test. Run again, it starts the training afresh and keeps the rest.
# Arguments go to train.py, such as --amp.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/env.sh

config=configs/respike/respike_mobilenetv2-sr10_1xb16-8x2x1-s4-8e_motion8-rgb.py
data=data/motion8
work=work_dirs/demo

echo '== 1/4 environment'
prepare_env mmcv-lite,plot

echo "== 2/4 videos: eight motions, in $data"
python tools/data/make_motion_videos.py --out "$data" \
    --num-train 100 --num-val 25

echo "== 3/4 training, log in $work"
rm -rf "$work" # what an earlier demo left
python tools/train.py "$config" --work-dir "$work" --seed 0 "$@"

echo '== 4/4 test of the best checkpoint on held-out videos'
best=$(ls "$work"/best_acc_top1_epoch_*.pth)
python tools/test.py "$config" "$best" --work-dir "$work/test" \
    --dump "$work/predictions.pkl"
python tools/upstream.py analysis_tools/confusion_matrix.py "$config" \
    "$work/predictions.pkl" --label-file "$data/label_map.txt" \
    --include-values --show-path "$work/confusion_matrix.png"
echo
python tools/analysis_tools/print_confusion_matrix.py \
    "$work/predictions.pkl" "$data/label_map.txt"
echo
echo "checkpoint   $best"
echo "log          $(ls "$work"/*/*.log)"
echo "curves       $(ls -d "$work"/*/vis_data)"
echo "             tensorboard --logdir $work"
echo "confusion    $work/confusion_matrix.png"
