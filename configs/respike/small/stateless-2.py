# Each step of this stage starts from resting potentials.
_base_ = 'respike.py'
model = dict(backbone=dict(stateless_stages=(1, )))
