# ReSpike-Lite: key frames at 0.7 of the height and width, through a ResNet
# whose channels shift between them (TSM, no operation more), and no fusion
# but in the classifier.
_base_ = 'recipe-plus.py'
model = dict(
    key_scale=0.7,
    key_backbone=dict(type='ResNetTSM', pretrained2d=True, shift_div=8),
    cls_head=dict(fused_stages=()))
