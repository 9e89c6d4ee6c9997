# The branches meet in the classifier alone.
_base_ = 'respike.py'
model = dict(cls_head=dict(fused_stages=()))
