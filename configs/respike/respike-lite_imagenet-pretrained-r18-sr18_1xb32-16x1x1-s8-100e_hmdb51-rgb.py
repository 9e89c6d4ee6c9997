# ReSpike-Lite on HMDB-51: two key frames at half resolution, six times the
# residual frames of them, no fusion but in the classifier (docs/evidence.md).
_base_ = 'respike_imagenet-pretrained-r18-sr18_1xb32-16x1x1-s4-100e_hmdb51-rgb.py'  # noqa: E501
clip = dict(stride=8)
model = dict(key_scale=0.5, cls_head=dict(fused_stages=()))
