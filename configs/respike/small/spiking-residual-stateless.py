_base_ = 'spiking-residual.py'
model = dict(backbone=dict(stateless_stages=(0, 1, 2, 3)))
