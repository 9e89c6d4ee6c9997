# The published Kinetics-400 recipe: 16 frames spread over the video (TSN
# segments), groups of 2, so ONE residual step a group; batch 16 a GPU.
_base_ = [
    '../_base_/models/respike_r50.py', '../_base_/datasets/kinetics400.py',
    '../_base_/schedules/sgd_cosine_100e_amp.py',
    '../_base_/default_runtime.py'
]

model = dict(
    stride='${clip.stride}',
    num_frames='${clip.num_frames}',
    cls_head=dict(num_classes='${num_classes}'))

# lr 1e-4 belongs to 8 x 16 clips: train.py --auto-scale-lr fits it to yours
auto_scale_lr = dict(enable=False, base_batch_size=128)
