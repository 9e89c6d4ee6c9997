# The twin without spikes and membranes.
_base_ = 'respike.py'
model = dict(backbone=dict(neuron=dict(_delete_=True, type='ReLU')))
