# BatchNorm takes its statistics over all steps (tdBN).
_base_ = 'respike.py'
model = dict(backbone=dict(norm_statistics='shared'))
