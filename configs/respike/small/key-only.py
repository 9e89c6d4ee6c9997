# The key frames alone, through the dense network.
_base_ = 'tsn.py'
keep = 'key'
