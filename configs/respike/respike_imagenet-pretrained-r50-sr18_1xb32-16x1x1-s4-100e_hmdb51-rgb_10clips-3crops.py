# Test the HMDB-51 recipe on 10 clips x 3 crops a video
# (the mean of 30 answers).
_base_ = 'respike_imagenet-pretrained-r50-sr18_1xb32-16x1x1-s4-100e_hmdb51-rgb.py'  # noqa: E501

test_pipeline = [
    dict(type='VideoInit', decoder='{{$RESPIKE_DECODER:decord}}'),
    dict(
        type='SampleFrames',
        clip_len=16,
        frame_interval=1,
        num_clips=10,
        test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 224)),
    dict(type='ThreeCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='ResidualFrameTransform', stride=4, num_frames=16),
    dict(
        type='PackActionInputs',
        collect_keys=('key_frames', 'residual_frames'))
]
test_dataloader = dict(batch_size=1, dataset=dict(pipeline=test_pipeline))
