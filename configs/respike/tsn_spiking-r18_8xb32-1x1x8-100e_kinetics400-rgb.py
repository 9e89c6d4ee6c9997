# Mixed use: the spiking ResNet alone, as backbone of a stock TSN. The eight
# segments are the steps of its neurons.
_base_ = [
    '../_base_/datasets/kinetics400.py',
    '../_base_/schedules/sgd_cosine_100e_amp.py',
    '../_base_/default_runtime.py'
]

clip = dict(num_frames=8)
model = dict(
    type='Recognizer2D',
    backbone=dict(
        type='SpikingResNet', depth=18, num_steps='${clip.num_frames}'),
    cls_head=dict(
        type='TSNHead',
        num_classes='${num_classes}',
        in_channels=512,
        dropout_ratio=0.4,
        average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        format_shape='NCHW'))

end = [dict(type='PackActionInputs')]  # no split
train_pipeline = [
    *_base_.train_pipeline[:4],
    dict(type='RandomResizedCrop'),  # for MultiScaleCrop
    *_base_.train_pipeline[5:-2],
    *end
]
val_pipeline = [*_base_.val_pipeline[:-2], *end]
test_pipeline = [*_base_.test_pipeline[:-2], *end]

train_dataloader = dict(
    batch_size=32, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

optim_wrapper = dict(optimizer=dict(lr=0.01))
auto_scale_lr = dict(enable=False, base_batch_size=256)
