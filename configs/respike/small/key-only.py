# The key frames alone, through the dense network.
_base_ = 'tsn.py'
keep = 'key'
lr = 3e-3
max_epochs = 32
