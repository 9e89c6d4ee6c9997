# ReSpike-Lite: key frames at 0.7 of the height and width, and no fusion but
# in the classifier.
_base_ = 'late.py'
model = dict(key_scale=0.7)
