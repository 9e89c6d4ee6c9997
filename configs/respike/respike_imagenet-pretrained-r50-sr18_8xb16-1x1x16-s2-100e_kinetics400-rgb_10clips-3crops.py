# Test the Kinetics-400 recipe on 10 clips x 3 crops a video: the mean of 30
# answers. Clip v is one frame of each of the 16 segments, at 1/11, 2/11 ...
# 10/11 of the segment.
_base_ = 'respike_imagenet-pretrained-r50-sr18_8xb16-1x1x16-s2-100e_kinetics400-rgb.py'  # noqa: E501

views = dict(
    sampling='UniformSample',
    clip_len='${clip.num_frames}',
    num_clips=10,
    crop='ThreeCrop',
    crop_size='${clip.short_side}')
test_dataloader = dict(batch_size=1)
