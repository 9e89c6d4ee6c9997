# The demo (tools/demo.sh): a small ReSpike learns eight motions on a CPU from
# the videos of tools/data/make_motion_videos.py, from random weights.
_base_ = [
    '../_base_/models/respike_r50.py', '../_base_/default_runtime.py'
]

# two groups of a key and three residual frames
clip = dict(num_frames=8, stride=4, frame_interval=2, size=64)
num_classes = 8
max_epochs = 8

model = dict(
    stride='${clip.stride}',
    num_frames='${clip.num_frames}',
    channels_last=False,  # wins on larger maps only
    key_backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        widen_factor=0.5,
        out_indices=(1, 2, 4, 7)),  # to the last: DDP sees none unused
    backbone=dict(
        depth=10,
        base_channels=32,
        # minutes of training do not pay for a compilation
        neuron=dict(backend='torch')),
    cls_head=dict(num_classes='${num_classes}'))

data_root = 'data/motion8/'
ann_file_train = '${data_root}motion8_train_list_videos.txt'
ann_file_val = '${data_root}motion8_val_list_videos.txt'
data_prefix = dict(video='${data_root}')
collect_keys = ('key_frames', 'residual_frames')

# No flip: it would make left of right.
train_pipeline = [
    dict(type='VideoInit'),
    dict(
        type='SampleFrames',
        clip_len='${clip.num_frames}',
        frame_interval='${clip.frame_interval}',
        num_clips=1),
    dict(type='VideoDecode'),
    dict(
        type='RandomResizedCrop',
        area_range=(0.75, 1.0),
        aspect_ratio_range=(0.9, 1.1)),
    dict(
        type='Resize',
        scale=('${clip.size}', '${clip.size}'),
        keep_ratio=False),
    dict(type='FormatShape', input_format='NCHW'),
    dict(
        type='ResidualFrameTransform',
        stride='${clip.stride}',
        num_frames='${clip.num_frames}'),
    dict(type='PackActionInputs', collect_keys=collect_keys)
]
val_pipeline = [
    dict(type='VideoInit'),
    dict(
        type='SampleFrames',
        clip_len='${clip.num_frames}',
        frame_interval='${clip.frame_interval}',
        num_clips=1,
        test_mode=True),
    dict(type='VideoDecode'),
    dict(
        type='Resize',
        scale=('${clip.size}', '${clip.size}'),
        keep_ratio=False),
    dict(type='FormatShape', input_format='NCHW'),
    dict(
        type='ResidualFrameTransform',
        stride='${clip.stride}',
        num_frames='${clip.num_frames}'),
    dict(type='PackActionInputs', collect_keys=collect_keys)
]
test_pipeline = val_pipeline

train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ResilientVideoDataset',
        ann_file='${ann_file_train}',
        data_prefix=dict(video='${data_prefix.video}'),
        num_classes='${num_classes}',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ResilientVideoDataset',
        ann_file='${ann_file_val}',
        data_prefix=dict(video='${data_prefix.video}'),
        num_classes='${num_classes}',
        pipeline=val_pipeline,
        test_mode=True))
test_dataloader = val_dataloader

val_evaluator = dict(type='VideoAccMetric')
test_evaluator = dict(type='VideoAccMetric', class_report=True)

train_cfg = dict(
    type='EpochBasedTrainLoop',
    max_epochs=max_epochs,
    val_begin=1,
    val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.02),
    clip_grad=dict(max_norm=5))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.1,
        by_epoch=True,
        begin=0,
        end=1,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min=0,
        T_max=max_epochs - 1,
        by_epoch=True,
        begin=1,
        end=max_epochs,
        convert_to_iter_based=True)
]
auto_scale_lr = dict(enable=False, base_batch_size=16)

default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(interval=2, max_keep_ckpts=1, save_best='auto'),
    firing_rate=dict(type='FiringRateHook', interval=10),
    int8_weights=dict(type='Int8WeightsHook'))
vis_backends = [
    dict(type='LocalVisBackend'),
    dict(type='TensorboardVisBackend')
]
visualizer = dict(vis_backends=vis_backends)
env_cfg = dict(dist_cfg=dict(backend='gloo'))  # processes on CPUs
