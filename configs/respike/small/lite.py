# ReSpike-Lite: key frames at 0.7 of the height and width, no fusion but in
# the classifier.
_base_ = 'recipe-plus.py'
model = dict(key_scale=0.7, cls_head=dict(fused_stages=()))
