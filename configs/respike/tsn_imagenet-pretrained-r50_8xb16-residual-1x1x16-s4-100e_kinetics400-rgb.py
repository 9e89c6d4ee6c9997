# Mixed use: a stock TSN on residual frames. ResidualFrameTransform leaves the
# twelve residual frames of sixteen in place of the frames.
_base_ = [
    'mmaction::_base_/models/tsn_r50.py', '../_base_/datasets/kinetics400.py',
    '../_base_/schedules/sgd_cosine_100e_amp.py',
    '../_base_/default_runtime.py'
]

model = dict(
    cls_head=dict(num_classes='${num_classes}'),
    # the mean cancels in a residual
    data_preprocessor=dict(mean=[0., 0., 0.]))

clip = dict(stride=4)
residual = dict(
    type='ResidualFrameTransform',
    stride='${clip.stride}',
    num_frames='${clip.num_frames}',
    keep='residual')
end = [residual, dict(type='PackActionInputs')]  # that of the base differs
train_pipeline = [
    *_base_.train_pipeline[:4],
    dict(type='RandomResizedCrop'),  # for MultiScaleCrop
    *_base_.train_pipeline[5:-2],
    *end
]
val_pipeline = [*_base_.val_pipeline[:-2], *end]
test_pipeline = [*_base_.test_pipeline[:-2], *end]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

optim_wrapper = dict(optimizer=dict(lr=0.005))
auto_scale_lr = dict(enable=False, base_batch_size=128)
