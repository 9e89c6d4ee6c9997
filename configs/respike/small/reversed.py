_base_ = 'respike.py'
frame_order = 'reversed'
