# The published UCF-101 recipe: 16 consecutive frames, groups of 4, batch 32.
_base_ = [
    '../_base_/models/respike_r50.py', '../_base_/datasets/ucf101.py',
    '../_base_/schedules/sgd_cosine_100e_amp.py',
    '../_base_/default_runtime.py'
]

model = dict(
    stride='${clip.stride}',
    num_frames='${clip.num_frames}',
    cls_head=dict(num_classes='${num_classes}'))

# lr 1e-4 belongs to a batch of 32: train.py --auto-scale-lr fits it to yours
auto_scale_lr = dict(enable=False, base_batch_size=32)
