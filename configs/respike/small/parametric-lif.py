_base_ = 'respike.py'
model = dict(backbone=dict(neuron=dict(
    _delete_=True, type='ParametricLIFNeuron')))
