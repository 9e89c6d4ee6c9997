# ReSpike-Lite on HMDB-51: recipe_plus, key frames at 0.7 of the height and
# width, no fusion but in the classifier (docs/evidence.md).
_base_ = 'respike-plus_imagenet-pretrained-r18-sr18_1xb32-16x1x1-s4-100e_hmdb51-rgb.py'  # noqa: E501
model = dict(key_scale=0.7, cls_head=dict(fused_stages=()))
