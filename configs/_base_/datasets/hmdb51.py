# HMDB-51: 16 consecutive frames, as published (arXiv 2409.01564).
# Test: one clip from the middle, centre crop, one answer a video. (The
# published code counts clips.)
dataset_type = 'ResilientVideoDataset'
data_root = 'data/hmdb51/'
data_prefix = dict(video=data_root + 'videos')
# Splits 2 and 3: --cfg-options with the files of that split.
ann_file_train = data_root + 'hmdb51_train_split_1_videos.txt'
ann_file_val = data_root + 'hmdb51_val_split_1_videos.txt'
metainfo = dict(classes=data_root + 'label_map.txt')

# RESPIKE_DECODER=pyav where decord cannot be imported (ARM, macOS)
decoder = '{{$RESPIKE_DECODER:decord}}'
collect_keys = ('key_frames', 'residual_frames')

train_pipeline = [
    dict(type='VideoInit', decoder=decoder),
    dict(type='SampleFrames', clip_len=16, frame_interval=1, num_clips=1),
    dict(type='VideoDecode'),
    dict(type='RandomResizedCrop'),
    dict(type='Resize', scale=(224, 224), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='ResidualFrameTransform', stride=4, num_frames=16),
    dict(type='PackActionInputs', collect_keys=collect_keys)
]
val_pipeline = [
    dict(type='VideoInit', decoder=decoder),
    dict(
        type='SampleFrames',
        clip_len=16,
        frame_interval=1,
        num_clips=1,
        test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, 224)),
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='ResidualFrameTransform', stride=4, num_frames=16),
    dict(type='PackActionInputs', collect_keys=collect_keys)
]
test_pipeline = val_pipeline

train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        ann_file=ann_file_train,
        data_prefix=data_prefix,
        num_classes=51,
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
        data_prefix=data_prefix,
        num_classes=51,
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
        data_prefix=data_prefix,
        num_classes=51,
        metainfo=metainfo,
        on_error='raise',
        pipeline=test_pipeline,
        test_mode=True))

val_evaluator = dict(type='VideoAccMetric')
test_evaluator = dict(type='VideoAccMetric', class_report=True)
