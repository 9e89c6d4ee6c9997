# The key frame stays, the frames behind it come in any order.
_base_ = 'respike.py'
frame_order = 'shuffled'
