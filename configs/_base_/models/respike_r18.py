# ReSpike with a ResNet-18 key-frame branch (arXiv 2409.01564).
_base_ = 'respike_r50.py'

model = dict(
    key_backbone=dict(
        depth=18,
        pretrained='https://download.pytorch.org/models/resnet18-f37072fd.pth'
    ))
