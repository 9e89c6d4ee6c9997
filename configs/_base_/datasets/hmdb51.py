# HMDB-51: 16 consecutive frames, as published (arXiv 2409.01564).
# Test: one clip from the middle, centre crop, one answer a video. (The
# published code counts clips.)
# '${NAME}' stands for the value of NAME: change it there, in a child config
# or by --cfg-options, and it changes everywhere.
clip = dict(num_frames=16, stride=4, frame_interval=1, size=224)
views = dict(num_clips=1, crop='CenterCrop')  # of a test video
flip_ratio = 0.5  # of training clips; 0 where left and right are classes

data_root = 'data/hmdb51/'
split = 1
ann_file_train = '${data_root}hmdb51_train_split_${split}_videos.txt'
ann_file_val = '${data_root}hmdb51_val_split_${split}_videos.txt'
data_prefix = dict(video='${data_root}videos')
metainfo = dict(classes='${data_root}label_map.txt')
num_classes = 51

split_and_pack = [
    dict(type='FormatShape', input_format='NCHW'),
    dict(
        type='ResidualFrameTransform',
        stride='${clip.stride}',
        num_frames='${clip.num_frames}'),
    dict(
        type='PackActionInputs',
        collect_keys=('key_frames', 'residual_frames'))
]
train_pipeline = [
    dict(type='VideoInit'),
    dict(
        type='SampleFrames',
        clip_len='${clip.num_frames}',
        frame_interval='${clip.frame_interval}',
        num_clips=1),
    dict(type='VideoDecode'),
    dict(type='RandomResizedCrop'),
    dict(
        type='Resize',
        scale=('${clip.size}', '${clip.size}'),
        keep_ratio=False),
    dict(type='Flip', flip_ratio='${flip_ratio}'), *split_and_pack
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
    dict(type='Resize', scale=(-1, '${clip.size}')),
    dict(type='CenterCrop', crop_size='${clip.size}'), *split_and_pack
]
test_pipeline = [
    dict(type='VideoInit'),
    dict(
        type='SampleFrames',
        clip_len='${clip.num_frames}',
        frame_interval='${clip.frame_interval}',
        num_clips='${views.num_clips}',
        test_mode=True),
    dict(type='VideoDecode'),
    dict(type='Resize', scale=(-1, '${clip.size}')),
    dict(type='${views.crop}', crop_size='${clip.size}'), *split_and_pack
]

dataset = dict(
    type='ResilientVideoDataset',
    data_prefix=dict(video='${data_prefix.video}'),
    num_classes='${num_classes}',
    metainfo=dict(classes='${metainfo.classes}'))
train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        **dataset, ann_file='${ann_file_train}', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file='${ann_file_val}',
        on_error='raise',
        pipeline=val_pipeline,
        test_mode=True))
test_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **dataset,
        ann_file='${ann_file_val}',
        on_error='raise',
        pipeline=test_pipeline,
        test_mode=True))

val_evaluator = dict(type='VideoAccMetric')
test_evaluator = dict(type='VideoAccMetric', class_report=True)
