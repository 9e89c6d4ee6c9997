# Kinetics-400: 16 frames spread over the video (TSN segments), groups of 2,
# as published (arXiv 2409.01564). Test: the middle frame of each segment,
# centre crop. (The published code draws the test frames at random.)
dataset_type = 'ResilientVideoDataset'
data_root = 'data/kinetics400/'
ann_file_train = data_root + 'kinetics400_train_list_videos.txt'
ann_file_val = data_root + 'kinetics400_val_list_videos.txt'
metainfo = dict(classes=data_root + 'label_map.txt')

# RESPIKE_DECODER=pyav where decord cannot be imported (ARM, macOS); it is
# also the faster one for frames spread over a long clip.
decoder = '{{$RESPIKE_DECODER:decord}}'
collect_keys = ('key_frames', 'residual_frames')

train_pipeline = [
    dict(type='VideoInit', decoder=decoder),
    dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=16),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(
        type='MultiScaleCrop',
        input_size=224,
        scales=(1, 0.875, 0.75, 0.66),
        random_crop=False,
        num_fixed_crops=13,
        max_wh_scale_gap=1),
    dict(type='Resize', scale=(224, 224), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='ResidualFrameTransform', stride=2, num_frames=16),
    dict(type='PackActionInputs', collect_keys=collect_keys)
]
val_pipeline = [
    dict(type='VideoInit', decoder=decoder),
    dict(
        type='SampleFrames',
        clip_len=1,
        frame_interval=1,
        num_clips=16,
        test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='ResidualFrameTransform', stride=2, num_frames=16),
    dict(type='PackActionInputs', collect_keys=collect_keys)
]
test_pipeline = val_pipeline

train_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        ann_file=ann_file_train,
        data_prefix=dict(video=data_root + 'videos_train'),
        num_classes=400,
        metainfo=metainfo,
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        ann_file=ann_file_val,
        data_prefix=dict(video=data_root + 'videos_val'),
        num_classes=400,
        metainfo=metainfo,
        on_error='raise',
        pipeline=val_pipeline,
        test_mode=True))
test_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        ann_file=ann_file_val,
        data_prefix=dict(video=data_root + 'videos_val'),
        num_classes=400,
        metainfo=metainfo,
        on_error='raise',
        pipeline=test_pipeline,
        test_mode=True))

val_evaluator = dict(type='VideoAccMetric')
test_evaluator = dict(type='VideoAccMetric', class_report=True)
