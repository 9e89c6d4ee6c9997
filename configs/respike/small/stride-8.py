_base_ = 'respike.py'
clip = dict(stride=8)
