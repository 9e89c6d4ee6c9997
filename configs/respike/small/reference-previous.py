# Residuals to the frame before, not to the key frame.
_base_ = 'respike.py'
reference = 'previous'
