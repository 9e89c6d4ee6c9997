# The HMDB-51 recipe with ResNet-18 key frames, from raw frames.
_base_ = [
    '../_base_/models/respike_r18.py',
    '../_base_/datasets/hmdb51_rawframes.py',
    '../_base_/schedules/sgd_cosine_100e_amp.py',
    '../_base_/default_runtime.py'
]

model = dict(
    stride='${clip.stride}',
    num_frames='${clip.num_frames}',
    cls_head=dict(num_classes='${num_classes}'))

# lr 1e-4 belongs to a batch of 32: train.py --auto-scale-lr fits it to yours
auto_scale_lr = dict(enable=False, base_batch_size=32)
