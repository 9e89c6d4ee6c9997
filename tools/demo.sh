#!/usr/bin/env bash
# From a fresh clone to a trained ReSpike, on a CPU: environment, videos,
# training, test. Run again, it starts the training afresh and keeps the rest.
# Arguments go to train.py, such as --amp.
# Configs and lists of hooks are not printed: they are in the logs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/env.sh

config=configs/respike/respike_mobilenetv2-sr10_1xb16-8x2x1-s4-8e_motion8-rgb.py
data=data/motion8
work=work_dirs/demo

# a block is what follows a line of the log, up to the next one
brief() {
    python -uc '
import sys
skip = False
for line in sys.stdin:
    if " - mmengine - " in line:
        text = line.partition(" - INFO - ")[2].strip()
        skip = text == "" or text.startswith(("Config:", "Hooks will be"))
    if not skip:
        print(line, end="")
'
}

echo '== 1/4 environment'
prepare_env mmcv-lite,plot

echo "== 2/4 videos: eight motions, in $data"
python tools/data/make_motion_videos.py --out "$data" \
    --num-train 100 --num-val 25

echo "== 3/4 training, log in $work"
rm -rf "$work" # what an earlier demo left
python tools/train.py "$config" --work-dir "$work" --seed 0 "$@" | brief

echo '== 4/4 test of the best checkpoint on held-out videos'
best=$(ls "$work"/best_acc_top1_epoch_*.pth)
dump=$work/predictions.pkl
labels=$data/label_map.txt
python tools/test.py "$config" "$best" --work-dir "$work/test" \
    --dump "$dump" | brief
echo
python tools/analysis_tools/print_confusion_matrix.py "$dump" "$labels"
echo
python tools/analysis_tools/print_answers.py "$dump" "$labels" --number 5
echo
python tools/analysis_tools/plot_run.py "$work" --dump "$dump" \
    --label-map "$labels"
python tools/visualizations/vis_respike.py "$data/videos_val/up/0000.mp4" \
    "$config" "$best" --label up --label-map "$labels" --out-dir "$work/see"
echo
echo "checkpoint  $best"
echo "log         $(ls "$work"/*/*.log)"
echo "pictures    $(dirname "$work"/*/*.log)/{curves,firing_rates,confusion_matrix}.png"
echo "page        $work/see/0000.html: what the network sees, in a browser"
echo "live        tensorboard --logdir $work"
