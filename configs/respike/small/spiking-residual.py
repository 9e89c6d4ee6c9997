# The spiking network alone, on the residual frames of groups of four.
_base_ = 'spiking-rgb.py'
keep = 'residual'
steps = 3
model = dict(data_preprocessor=dict(mean=[0., 0., 0.]))  # it cancels
