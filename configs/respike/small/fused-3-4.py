_base_ = 'respike.py'
model = dict(cls_head=dict(fused_stages=(2, 3)))
