# The HMDB-51 recipe with ResNet-18 key frames: the network for one small GPU.
_base_ = 'respike_imagenet-pretrained-r50-sr18_1xb32-16x1x1-s4-100e_hmdb51-rgb.py'  # noqa: E501

model = dict(
    key_backbone=dict(
        depth=18,
        pretrained='https://download.pytorch.org/models/resnet18-f37072fd.pth'
    ))
