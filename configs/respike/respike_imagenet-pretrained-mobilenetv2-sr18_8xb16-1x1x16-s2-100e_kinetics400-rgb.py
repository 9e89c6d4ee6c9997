# ReSpike with MMAction2's MobileNetV2 as key branch: any backbone with four
# output maps will do, its channels are read from it.
_base_ = 'respike_imagenet-pretrained-r50-sr18_8xb16-1x1x16-s2-100e_kinetics400-rgb.py'  # noqa: E501

model = dict(
    key_backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(1, 2, 4, 7),  # strides 4, 8, 16, 32
        pretrained='mmcls://mobilenet_v2'))
