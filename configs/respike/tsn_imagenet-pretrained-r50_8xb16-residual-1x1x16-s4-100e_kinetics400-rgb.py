# Mixed use: a stock TSN on residual frames. ResidualFrameTransform leaves the
# twelve residual frames of sixteen in place of the frames.
_base_ = [
    'mmaction::_base_/models/tsn_r50.py', '../_base_/datasets/kinetics400.py',
    '../_base_/schedules/sgd_cosine_100e_amp.py',
    '../_base_/default_runtime.py'
]

model = dict(
    # the mean cancels in a residual
    data_preprocessor=dict(mean=[0., 0., 0.]))

num_frames = 16
residual = dict(
    type='ResidualFrameTransform',
    stride=4,
    num_frames=num_frames,
    keep='residual')
train_pipeline = [
    dict(type='VideoInit', decoder=_base_.decoder),
    dict(type='SampleFrames', clip_len=1, num_clips=num_frames),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='RandomResizedCrop'),
    dict(type='Resize', scale=(224, 224), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='FormatShape', input_format='NCHW'), residual,
    dict(type='PackActionInputs')
]
val_pipeline = [
    dict(type='VideoInit', decoder=_base_.decoder),
    dict(
        type='SampleFrames', clip_len=1, num_clips=num_frames,
        test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCHW'), residual,
    dict(type='PackActionInputs')
]
test_pipeline = val_pipeline

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

optim_wrapper = dict(optimizer=dict(lr=0.005))
auto_scale_lr = dict(enable=False, base_batch_size=128)
