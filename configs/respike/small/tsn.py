# All frames through the dense network: TSN.
_base_ = 'respike.py'
optim_wrapper = dict(
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0))
model = dict(
    _delete_=True,
    type='Recognizer2D',
    backbone=dict(
        type='ResNet', depth=18, norm_eval=False, pretrained='${pretrained}'),
    cls_head=dict(
        type='TSNHead',
        num_classes='${num_classes}',
        in_channels=512,
        dropout_ratio=0.,  # as the head of ReSpike
        average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        format_shape='NCHW'))
