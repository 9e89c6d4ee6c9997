# ReSpike-Lite: two key frames at half resolution help a spiking branch that
# sees everything else; they meet in the classifier.
_base_ = 'respike.py'
clip = dict(stride=8)
model = dict(key_scale=0.5, cls_head=dict(fused_stages=()))
