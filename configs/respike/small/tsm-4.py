# As many frames as there are key frames, TSM.
_base_ = 'tsm.py'
clip = dict(num_frames=4)
