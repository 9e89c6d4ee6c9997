# Something-Something V2, whose answers are motion: the Kinetics-400 recipe in
# groups of 4. Not published, not trained here.
_base_ = [
    '../_base_/models/respike_r50.py', '../_base_/datasets/sthv2.py',
    '../_base_/schedules/sgd_cosine_100e_amp.py',
    '../_base_/default_runtime.py'
]

model = dict(
    stride='${clip.stride}',
    num_frames='${clip.num_frames}',
    cls_head=dict(num_classes='${num_classes}'))

# lr 1e-4 belongs to 8 x 16 clips: train.py --auto-scale-lr fits it to yours
auto_scale_lr = dict(enable=False, base_batch_size=128)
