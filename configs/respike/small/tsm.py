# All frames through the dense network with temporal shifts: TSM.
_base_ = 'tsn.py'
lr = 1e-3
model = dict(
    backbone=dict(
        type='ResNetTSM',
        pretrained2d=True,
        num_segments='${clip.num_frames}',
        shift_div=8),
    cls_head=dict(
        type='TSMHead', num_segments='${clip.num_frames}', is_shift=True))
