# All of them is what respike.py fuses, too.
_base_ = 'respike.py'
model = dict(cls_head=dict(fused_stages=(0, 1, 2, 3)))
