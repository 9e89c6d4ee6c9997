# ReSpike with MMAction2's ResNetTSM as key branch: the 8 key frames of a view
# see one another through the temporal shift (num_segments is set to them).
_base_ = 'respike_imagenet-pretrained-r50-sr18_8xb16-1x1x16-s2-100e_kinetics400-rgb.py'  # noqa: E501

model = dict(
    key_backbone=dict(
        type='ResNetTSM',
        shift_div=8))
