# ReSpike with MMAction2's ResNetTSM as key branch: the 8 key frames of a view
# see one another through the temporal shift.
_base_ = 'respike_imagenet-pretrained-r50-sr18_8xb16-1x1x16-s2-100e_kinetics400-rgb.py'  # noqa: E501

model = dict(
    key_backbone=dict(
        type='ResNetTSM',
        num_segments=8,  # num_frames / stride key frames
        shift_div=8))
