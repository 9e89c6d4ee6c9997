# All frames of a group are its key frame: residuals are zero.
_base_ = 'respike.py'
frame_order = 'frozen'
