_base_ = 'respike.py'
model = dict(backbone=dict(neuron=dict(reset='soft')))
