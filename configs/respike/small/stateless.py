# Each step starts from resting potentials: nothing is carried on.
_base_ = 'respike.py'
model = dict(backbone=dict(stateless_stages=(0, 1, 2, 3)))
