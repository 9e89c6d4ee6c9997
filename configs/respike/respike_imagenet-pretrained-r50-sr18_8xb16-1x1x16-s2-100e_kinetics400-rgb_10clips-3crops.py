# Test the Kinetics-400 recipe on 10 clips x 3 crops a video: the mean of 30
# answers. Clip v is one frame of each of the 16 segments, at 1/11, 2/11 ...
# 10/11 of the segment.
_base_ = 'respike_imagenet-pretrained-r50-sr18_8xb16-1x1x16-s2-100e_kinetics400-rgb.py'  # noqa: E501

test_pipeline = [
    dict(type='VideoInit', decoder='{{$RESPIKE_DECODER:decord}}'),
    dict(type='UniformSample', clip_len=16, num_clips=10, test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='ThreeCrop', crop_size=256),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='ResidualFrameTransform', stride=2, num_frames=16),
    dict(
        type='PackActionInputs',
        collect_keys=('key_frames', 'residual_frames'))
]
test_dataloader = dict(batch_size=1, dataset=dict(pipeline=test_pipeline))
