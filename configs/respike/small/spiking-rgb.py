# The spiking network alone, on all frames, which are its steps.
_base_ = 'tsn.py'
lr = 1e-3  # from random weights
steps = '${clip.num_frames}'
model = dict(
    backbone=dict(
        _delete_=True,
        type='SpikingResNet',
        depth=18,
        num_steps='${steps}',
        neuron=dict(type='LIFNeuron', tau=4 / 3)))
