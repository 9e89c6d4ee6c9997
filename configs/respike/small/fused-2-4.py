_base_ = 'respike.py'
model = dict(cls_head=dict(fused_stages=(1, 2, 3)))
