# Mixed use: the spiking ResNet alone, as backbone of a stock TSN. The eight
# segments are the steps of its neurons.
_base_ = [
    '../_base_/datasets/kinetics400.py',
    '../_base_/schedules/sgd_cosine_100e_amp.py',
    '../_base_/default_runtime.py'
]

num_segments = 8
model = dict(
    type='Recognizer2D',
    backbone=dict(type='SpikingResNet', depth=18, num_steps=num_segments),
    cls_head=dict(
        type='TSNHead',
        num_classes=400,
        in_channels=512,
        dropout_ratio=0.4,
        average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        format_shape='NCHW'))

train_pipeline = [
    dict(type='VideoInit', decoder=_base_.decoder),
    dict(type='SampleFrames', clip_len=1, num_clips=num_segments),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='RandomResizedCrop'),
    dict(type='Resize', scale=(224, 224), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs')
]
val_pipeline = [
    dict(type='VideoInit', decoder=_base_.decoder),
    dict(
        type='SampleFrames',
        clip_len=1,
        num_clips=num_segments,
        test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs')
]
test_pipeline = val_pipeline

train_dataloader = dict(
    batch_size=32, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

optim_wrapper = dict(optimizer=dict(lr=0.01))
auto_scale_lr = dict(enable=False, base_batch_size=256)
