# Test the UCF-101 recipe on 10 clips x 3 crops a video
# (the mean of 30 answers).
_base_ = 'respike_imagenet-pretrained-r50-sr18_1xb32-16x1x1-s4-100e_ucf101-rgb.py'  # noqa: E501

views = dict(num_clips=10, crop='ThreeCrop')
test_dataloader = dict(batch_size=1)
